"use strict";
/** What the code of every page stands on: its payload, words, language and shade, elements and charts. */
const offline = (() => {
  const find = (id) => document.getElementById(id);
  const page = JSON.parse(find("payload").textContent);
  const darkness = matchMedia("(prefers-color-scheme: dark)");

  let language = page.language;
  let shade = null;

  const known = (figure) => figure !== null && figure !== undefined;
  const dark = () => (shade ?? (darkness.matches ? "dark" : "light")) === "dark";
  const locale = () => (language === "zh" ? "zh-CN" : language);
  const tag = (own) => (own === "zh" ? "zh-Hans" : own);

  function say(key, fields = {}) {
    const words = page.words[language][key];
    if (words === undefined) throw new Error(`no words for ${key}`);
    return words.replace(/\{(\w+)\}/g, (_, name) => fields[name]);
  }

  function value(column, code) {
    return page.words[language][`${column}.${code}`] ?? code;
  }

  // --- elements -------------------------------------------------------------------------------------

  function el(name, given = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, own] of Object.entries(given)) {
      if (key === "class") made.className = own;
      else if (key.startsWith("on")) made.addEventListener(key.slice(2), own);
      else if (own !== null && own !== false) made.setAttribute(key, own);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }

  const outside = (words, given = {}) => el("bdi", { dir: "auto", ...given }, words ?? "–");

  function plain(heads, lines) {
    return el("table", { class: "plain" },
      el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, ...lines.map((line) => el("tr", {}, ...line.map((own, place) =>
        el(place ? "td" : "th", place ? {} : { scope: "row" }, own))))));
  }

  function inNumbers(heads, lines) {
    return el("details", {}, el("summary", {}, say("page.in_numbers")), el("div", { class: "scroll" }, plain(heads, lines)));
  }

  // --- charts ---------------------------------------------------------------------------------------

  function colour(variable) {
    return getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
  }

  const AXIS = { share: { style: "percent", maximumFractionDigits: 1 }, number: { notation: "compact", maximumSignificantDigits: 4 } };
  vega.expressionFunction("figure", (number, kind) => new Intl.NumberFormat(locale(), AXIS[kind]).format(number));
  /** How an axis says its numbers: as the language does, for Vega's own formats know neither 万 nor 亿. */
  const axisOf = (kind) => ({ formatType: "figure", format: kind });

  function chart(place, height, spec) {
    const font = getComputedStyle(document.body).fontFamily;
    const [ink, soft, line] = ["--ink", "--soft", "--line"].map(colour);
    const config = {
      font, background: null, customFormatTypes: true,
      view: { stroke: null },
      axis: { labelColor: ink, titleColor: soft, gridColor: line, domainColor: soft, tickColor: soft,
        labelFont: font, titleFont: font, labelFontSize: 11, titleFontSize: 11, labelLimit: 140 },
      legend: { labelColor: ink, titleColor: soft, labelFont: font, titleFont: font, orient: "top", title: null },
      line: { color: colour("--link") }, point: { color: colour("--link") }, bar: { color: colour("--link") },
      rule: { color: soft },
    };
    const width = Math.max(place.clientWidth, 200);
    const whole = { $schema: "https://vega.github.io/schema/vega-lite/v6.json", width, height,
      autosize: { type: "fit", contains: "padding" }, ...spec };
    const compiled = vegaLite.compile(whole, { config }).spec;
    const inside = el("div");  // Vega gives its container a role and takes its label away: the place keeps its own
    place.replaceChildren(inside);
    const view = new vega.View(vega.parse(compiled, {}, { ast: true }), {
      expr: expressionInterpreter, renderer: "svg", container: inside, logLevel: vega.Error, hover: false,
    });
    view.run();
  }

  // --- language and shade ---------------------------------------------------------------------------

  const following = () => page.languages[(page.languages.indexOf(language) + 1) % page.languages.length];

  function drawSwitches() {
    find("language").textContent = page.words[following()]["page.language"];
    find("language").lang = tag(following());
    find("shade").textContent = say(dark() ? "page.light" : "page.dark");
    const beside = find("beside");
    if (beside) beside.textContent = say(/scorecard/.test(beside.pathname) ? "page.to_scorecard" : "page.to_list");
  }

  /** `speak` writes the page in a language; `shine` draws again what takes its colours from the shade, and `ink` does
      so for paper, which is light. */
  function begin(speak, shine, ink = shine) {
    const turn = (next) => {
      language = next;
      document.documentElement.lang = tag(language);
      drawSwitches();
      speak(language);
    };
    const light = () => {
      document.documentElement.dataset.shade = dark() ? "dark" : "light";
      drawSwitches();
    };
    const relight = () => { light(); shine(); };
    find("language").addEventListener("click", () => turn(following()));
    find("shade").addEventListener("click", () => { shade = dark() ? "light" : "dark"; relight(); });
    darkness.addEventListener("change", relight);
    addEventListener("beforeprint", () => { document.documentElement.dataset.shade = "light"; ink(); });
    addEventListener("afterprint", relight);
    light();
    turn(page.language);
  }

  return { page, find, known, locale, say, value, el, outside, plain, inNumbers, colour, axisOf, chart, begin };
})();
