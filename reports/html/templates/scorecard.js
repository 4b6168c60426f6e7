"use strict";
(() => {
  const { page, find, known, locale, say, value, el, outside, plain, colour, axisOf, chart } = offline;
  const STATES = { f: "final", o: "open", a: "absent", "-": "none" };
  const WHOLE = "company";
  const UNKNOWN = "unknown";
  const YEAR = 12;
  const LARGE = 1e5;
  const RATES = ["R4"];
  const LENGTHS = ["R15"];
  const RETENTION = ["R5", "R8", "R14"];
  const MOVEMENTS = ["M6", "R10", "R9"];
  const LOSSES = ["R13"];
  const DUE = ["R1", "R2"];
  const LOST = "preventable_loss_share";
  const SIDE = ["customers", "arr", "logo_renewal_rate", "revenue_renewal_rate", "gross_retention", "net_retention",
    "revenue_churn"];

  let language = page.language;
  let period = page.periods.trailing_year.length ? "trailing_year" : "month";
  let divided = "size_band";
  let segment = -1;
  let everyOpen = false;
  let formats = {};
  let waiting = new Map();
  const opened = new Set();
  const sorted = {};

  // --- figures and how they are said ----------------------------------------------------------------

  function setFormats() {
    const number = (options) => new Intl.NumberFormat(locale(), options);
    const day = (options) => new Intl.DateTimeFormat(locale(), { timeZone: "UTC", ...options });
    formats = {
      whole: number({ maximumFractionDigits: 0 }),
      fine: number({ maximumFractionDigits: 1 }),
      small: number({ maximumSignificantDigits: 3 }),
      short: number({ notation: "compact", maximumFractionDigits: 2 }),
      share: number({ style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 }),
      moved: number({ signDisplay: "exceptZero", minimumFractionDigits: 1, maximumFractionDigits: 1 }),
      movedShare: number({ style: "percent", signDisplay: "exceptZero", minimumFractionDigits: 1, maximumFractionDigits: 1 }),
      day: day({ year: "numeric", month: "short", day: "numeric" }),
      month: day({ year: "numeric", month: "short" }),
    };
  }

  const day = (text) => formats.day.format(new Date(`${text}T00:00:00Z`));
  const month = (text) => formats.month.format(new Date(`${text}-01T00:00:00Z`));
  const span = (at, kind = period) => (kind === "month" ? month(at) : say("scorecard.year", { month: month(at) }));
  const amount = (figure) => `${page.currency} ${(Math.abs(figure) < LARGE ? formats.whole : formats.short).format(figure)}`;
  const number = (figure) => (Math.abs(figure) >= 100 ? formats.whole : Math.abs(figure) >= 1 ? formats.fine : formats.small)
    .format(figure);
  const SAID = {
    share: (figure) => formats.share.format(figure),
    money: amount,
    count: number,
    ratio: number,
    points: (figure) => formats.moved.format(figure),
    days: (figure) => say("scorecard.days", { number: formats.fine.format(figure) }),
  };
  const said = (measure, figure) => (known(figure) ? SAID[measure.unit](figure) : "–");
  const plainly = (figure) => (known(figure) ? number(figure) : "–");

  /** One entry per period, oldest first, of a measure in a segment. What a segment has nothing of has no state of its
      own; whether the period is final (`standing`) is then that of the whole company. */
  function history(measure, kind = period, of = divided, place = segment) {
    const whole = page.figures[kind][WHOLE][0]?.[measure];
    const own = place < 0 ? whole : page.figures[kind][of][place]?.[measure];
    return page.periods[kind].map((at, i) => ({
      at, i, value: own?.[0][i], numerator: own?.[1][i], denominator: own?.[2][i], state: STATES[own?.[3][i] ?? "-"],
      standing: STATES[whole?.[3][i] ?? "-"],
    }));
  }

  const newest = (entries) => entries.findLast(({ standing }) => standing === "final");
  const stateOf = ({ state, value: own }) => (state === "open" && known(own) ? "provisional" : state);
  const stateWords = (entry) => say(`scorecard.state.${stateOf(entry)}`);

  const tenth = (by) => Math.round(10 * by) / 10 + 0;

  /** What a figure moved by, as it is said: in points where it is a share or a balance, else in parts of what it was. */
  function moved({ unit }, now, before) {
    if (!known(now) || !known(before)) return null;
    const told = (by, words) => ({ by, words: words(formats.moved.format(by)) });
    if (unit === "share") return told(tenth(100 * (now - before)), (by) => say("scorecard.points", { number: by }));
    if (unit === "points") return told(tenth(now - before), (by) => by);
    if (unit === "days") return told(tenth(now - before), (by) => say("scorecard.days", { number: by }));
    const by = before > 0 ? tenth(100 * (now / before - 1)) : null;
    return known(by) ? told(by, () => formats.movedShare.format(by / 100)) : null;
  }

  function judged(measure, by) {
    if (!by || !measure.better) return "soft";
    return (by > 0) === (measure.better === "up") ? "up" : "down";
  }

  function change(measure, entries, at, ago) {
    const before = entries[at.i - ago];
    const own = before && before.state === "final" ? moved(measure, at.value, before.value) : null;
    if (!own) return null;
    const kind = judged(measure, own.by);
    const arrow = own.by > 0 ? "▲" : own.by < 0 ? "▼" : "=";
    return el("li", {}, el("span", { class: kind }, `${arrow} ${own.words}`),
      kind === "soft" ? null : el("span", { class: "unseen" }, ` ${say(`scorecard.${kind === "up" ? "better" : "worse"}`)}`),
      " ", el("span", { class: "soft" }, say("scorecard.since", { month: month(before.at) })));
  }

  // --- segments -------------------------------------------------------------------------------------

  const capital = (words) => words.charAt(0).toLocaleUpperCase(locale()) + words.slice(1);
  const kindName = (kind) => capital(page.segments[kind].name[language]);
  const nameOf = (measure) => capital(measure.name[language]);

  function segmentName(kind, place) {
    if (place < 0) return say("scorecard.everyone");
    const own = page.segments[kind].shown[place];
    return own === UNKNOWN ? say("scorecard.unknown") : value(kind, own);
  }

  // --- cards ----------------------------------------------------------------------------------------

  /** Why there is no figure; null where there is one. */
  function why(measure, entries) {
    const tables = measure.needs.join(", ");
    if (page.missing_measures.includes(measure.measure)) return say("scorecard.absent", { tables });
    if (entries.every(({ state }) => state === "none")) return say("scorecard.nothing");
    if (entries.every(({ state }) => state === "absent" || state === "none")) return say("scorecard.not_yet", { tables });
    return newest(entries) ? null : say(`scorecard.open.${measure.final_after}`, { periods: span(entries.at(-1).at) });
  }

  /** What is known of the periods after the newest final one. */
  function notFinal(measure, entries, at) {
    const later = entries.slice(at.i + 1).filter(({ standing }) => standing === "open");
    if (!later.length) return null;
    const last = later.findLast(({ value: own }) => known(own));
    if (last) {
      return el("p", { class: "soft" }, say("scorecard.provisional", { period: span(last.at), figure: said(measure, last.value) }));
    }
    const periods = later.length > 1 ? `${month(later[0].at)} – ${month(later.at(-1).at)}` : month(later[0].at);
    return el("p", { class: "soft" }, say(`scorecard.open.${measure.final_after}`, { periods }));
  }

  function made(entry) {
    const pairs = [["scorecard.numerator", entry.numerator], ["scorecard.denominator", entry.denominator]];
    return known(entry.denominator)
      ? el("dl", { class: "made" }, ...pairs.map(([key, own]) => el("div", {}, el("dt", {}, say(key)), el("dd", {}, plainly(own)))))
      : null;
  }

  function definition(measure, entries) {
    const shown = el("details", {}, el("summary", {}, say("scorecard.definition")));
    const fill = () => {
      if (shown.childElementCount > 1) return;
      shown.append(el("p", {}, capital(measure.definition[language])), el("div", { class: "scroll", tabindex: "0" }, plain(
        ["period", "figure", "numerator", "denominator", "state"].map((head) => say(`scorecard.${head}`)),
        entries.filter(({ state }) => state !== "none").reverse().map((entry) => [span(entry.at), said(measure, entry.value),
          plainly(entry.numerator), plainly(entry.denominator), stateWords(entry)]))));
    };
    shown.addEventListener("toggle", () => {
      if (shown.open) fill();
      opened[shown.open ? "add" : "delete"](measure.measure);
    });
    if (opened.has(measure.measure)) { fill(); shown.open = true; }
    return shown;
  }

  function card(measure, large = false) {
    const entries = history(measure.measure);
    const reason = why(measure, entries);
    const at = newest(entries);
    const inside = reason ? [el("p", { class: "absent" }, reason)] : [
      el("p", { class: "figure" }, said(measure, at.value)),
      el("p", { class: "soft" }, known(at.value) ? span(at.at)
        : say(at.state === "none" ? "scorecard.empty" : "scorecard.undefined", { period: span(at.at) })),
      made(at),
      large ? beside(measure) : null,
      el("ul", { class: "changes" }, change(measure, entries, at, 1), change(measure, entries, at, YEAR)),
      trend(measure, entries, at, large),
      notFinal(measure, entries, at),
    ];
    return el("article", { class: large ? "measure large" : "measure", id: `measure-${measure.measure}` },
      el("p", { class: "rule" }, measure.rule), el("h3", {}, nameOf(measure)), ...inside, definition(measure, entries));
  }

  /** The other kind of period beside a rate: its last final month beside a year, or the year beside a month. */
  function beside(measure) {
    const other = period === "month" ? "trailing_year" : "month";
    const at = newest(history(measure.measure, other));
    return at && el("p", {}, say("scorecard.beside", { period: span(at.at, other), figure: said(measure, at.value),
      numerator: plainly(at.numerator), denominator: plainly(at.denominator) }));
  }

  // --- trends ---------------------------------------------------------------------------------------

  /** A trend is drawn when it comes near to what is seen, and all are for paper: thirty at once take most of a second. */
  const watch = new IntersectionObserver((seen) => seen.filter((own) => own.isIntersecting).forEach((own) =>
    drawWaiting(own.target)), { rootMargin: "300px" });

  function drawWaiting(place) {
    watch.unobserve(place);
    waiting.get(place)?.();
    waiting.delete(place);
  }

  function trend(measure, entries, at, large) {
    const finals = entries.filter(({ state, value: own }) => state === "final" && known(own));
    if (finals.length < 2) return null;
    const [low, high] = [Math.min, Math.max].map((own) => said(measure, own(...finals.map((entry) => entry.value))));
    const words = say("scorecard.trend", { measure: nameOf(measure), first: said(measure, finals[0].value),
      from: span(finals[0].at), last: said(measure, finals.at(-1).value), to: span(finals.at(-1).at), low, high });
    const place = el("div", { class: "trend", role: "img", "aria-label": words });
    waiting.set(place, () => drawTrend(place, measure, entries, at, large));
    return place;
  }

  /** Final figures as a line; provisional ones hollow; open periods shaded; beside a year's rate its months as points. */
  function drawTrend(place, measure, entries, at, large) {
    const label = ({ at: own }) => month(own);
    const points = (own) => own.filter(({ value: figure }) => known(figure)).map((entry) => ({ at: label(entry), figure: entry.value }));
    // A line breaks where there is nothing, and what stands alone between two breaks is a point.
    const finals = entries.filter(({ standing }) => standing === "final").map((entry) => ({ at: label(entry), figure: entry.value ?? null }));
    const broken = finals.some(({ figure }) => figure === null);
    const months = large && period !== "month" ? history(measure.measure, "month").filter(({ state, at: own }) =>
      state === "final" && page.periods[period].includes(own)) : [];
    const shown = entries.map(label);
    const x = { field: "at", type: "ordinal", scale: { domain: shown }, axis: { title: null, labelAngle: 0, ticks: false,
      grid: false, labelPadding: 6, values: [shown[0], shown[Math.floor((shown.length - 1) / 2)], shown.at(-1)], labelOverlap: true } };
    const y = { field: "figure", type: "quantitative", scale: { zero: false }, axis: { title: null, tickCount: 3, domain: false,
      ticks: false, ...axisOf(measure.unit === "share" ? "share" : "number") } };
    const layer = (values, mark, more = { y }) => ({ data: { values }, mark, encoding: { x, ...more } });
    const open = entries.filter(({ standing }) => standing === "open").map((entry) => ({ at: label(entry) }));
    chart(place, large ? 190 : 104, {
      layer: [
        ...(open.length ? [layer(open, { type: "rect", color: colour("--line"), opacity: 0.55 }, {})] : []),
        ...(months.length ? [layer(points(months), { type: "point", filled: true, size: 16, color: colour("--soft"), opacity: 0.7 })] : []),
        layer(finals, { type: "line", strokeWidth: 2, point: broken && { size: 14, filled: true } }),
        layer(points(entries.filter(({ state }) => state === "open")), { type: "point", filled: false, size: 36 }),
        ...(known(at.value) ? [layer(points([at]), { type: "point", filled: true, size: 46, opacity: 1 })] : []),
      ],
    });
  }

  // --- tables ---------------------------------------------------------------------------------------

  const collator = new Intl.Collator(["zh-Hans-CN", "en"], { numeric: true });

  function compare(a, b) {
    if (!known(a) || !known(b)) return known(a) ? -1 : known(b) ? 1 : 0;
    return typeof a === "number" ? a - b : collator.compare(a, b);
  }

  /** A table whose headings sort it; a cell is what it sorts by and what it shows; nothing comes last either way. */
  function sortable(name, caption, heads, lines) {
    const table = el("table", { class: "plain", id: name });
    const draw = () => {
      const { column, down } = sorted[name] ?? { column: -1, down: false };
      const order = (a, b) => {
        const [x, y] = [a[column].by, b[column].by];
        return known(x) && known(y) && down ? compare(y, x) : compare(x, y);
      };
      const shown = column < 0 ? lines : [...lines].sort(order);
      const head = (words, i) => el("th", { scope: "col", "aria-sort": i === column ? (down ? "descending" : "ascending") : null },
        el("button", { type: "button", onclick: () => {
          sorted[name] = { column: i, down: i === column ? !down : typeof lines[0]?.[i].by === "number" };
          draw();
          table.querySelectorAll("thead button")[i].focus();
        } }, words, i === column ? (down ? " ▼" : " ▲") : ""));
      table.replaceChildren(el("thead", {}, el("tr", {}, ...heads.map(head))),
        el("tbody", {}, ...shown.map((line) => el("tr", { class: line.chosen ? "chosen" : null }, ...line.map(({ show }, i) =>
          el(i ? "td" : "th", i ? {} : { scope: "row" }, show))))));
    };
    draw();
    return el("div", {}, el("p", { class: "soft" }, caption),
      el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption }, table));
  }

  const measureOf = (name) => page.measures.find(({ measure }) => measure === name);

  /** The segments side by side in the newest period that is final for the whole company; one line per segment. */
  function sideBySide() {
    const at = newest(history(SIDE[2], period, WHOLE, -1));
    if (!at) return null;
    const shown = SIDE.map(measureOf);
    const line = (place) => {
      const cells = shown.map((measure) => history(measure.measure, period, divided, place)[at.i]);
      const name = segmentName(divided, place);
      const pick = el("button", { type: "button", class: "link", "aria-pressed": String(place === segment),
        onclick: () => { segment = place; draw(); find("by-segment").focus(); } }, outside(name));
      return Object.assign([{ by: name, show: pick }, ...cells.map((cell, i) => ({ by: cell.value, show: said(shown[i], cell.value) }))],
        { chosen: place === segment });
    };
    const { shown: names, left_out: left } = page.segments[divided];
    const caption = say("scorecard.side_about", { period: span(at.at) });
    return el("div", {},
      el("h3", {}, say("scorecard.side", { kind: page.segments[divided].name[language] })),
      sortable("side", caption, [kindName(divided), ...shown.map(nameOf)],
        [-1, ...names.keys()].map(line).filter((cells) => cells.slice(1).some(({ by }) => known(by)))),
      left ? el("p", { class: "soft" }, say("scorecard.left_out", { number: formats.whole.format(left) })) : null);
  }

  function everyFigure() {
    const shown = el("details", { id: "every" }, el("summary", {}, say("scorecard.every")));
    const fill = () => {
      if (shown.childElementCount > 1) return;
      const cell = (by, show = by ?? "–") => ({ by, show });
      const lines = page.measures.flatMap((measure, place) => history(measure.measure).filter(({ state }) => state !== "none")
        .reverse().map((entry) => [cell(entry.at, span(entry.at)), cell(place, nameOf(measure)),
          cell(entry.value, said(measure, entry.value)), cell(entry.numerator, plainly(entry.numerator)),
          cell(entry.denominator, plainly(entry.denominator)), cell(stateWords(entry))]));
      const heads = ["period", "measure", "figure", "numerator", "denominator", "state"].map((own) => say(`scorecard.${own}`));
      shown.append(el("p", {}, el("button", { type: "button", id: "save", onclick: save }, say("scorecard.save"))),
        sortable("figures", segmentName(divided, segment), heads, lines));
    };
    shown.addEventListener("toggle", () => { everyOpen = shown.open; if (shown.open) fill(); });
    if (everyOpen) { fill(); shown.open = true; }
    return shown;
  }

  // --- a file for a spreadsheet ---------------------------------------------------------------------

  /** Text is quoted, and marked where a spreadsheet would take it for a formula; numbers are as they are. */
  function field(own) {
    if (typeof own === "number") return String(own);
    const text = own ?? "";
    return `"${(/^[=+\-@\t\r\n＝＋－＠]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
  }

  function asCsv() {
    const who = segment < 0 ? [WHOLE, "all"] : [divided, page.segments[divided].shown[segment]];
    const heads = ["period_kind", "period", "segment_kind", "segment", "measure", "unit", "value", "numerator", "denominator", "state"];
    const lines = page.measures.flatMap((measure) => history(measure.measure).filter(({ state }) => state !== "none")
      .map((entry) => [period, entry.at, ...who, measure.measure, measure.unit, entry.value, entry.numerator,
        entry.denominator, entry.state]));
    return [heads, ...lines].map((line) => `${line.map(field).join(",")}\n`).join("");
  }

  function save() {
    const made = el("a", { download: `scorecard-${page.as_of}.csv`, href: URL.createObjectURL(new Blob(["\ufeff", asCsv()], { type: "text/csv" })) });
    made.click();
    setTimeout(() => URL.revokeObjectURL(made.href));
  }

  // --- the whole page -------------------------------------------------------------------------------

  function choice(id, label, options, chosen, pick) {
    return el("label", {}, el("span", { class: "soft" }, label), el("select", { id, onchange: (event) => { pick(event.target.value); draw(); } },
      ...options.map(([own, words]) => el("option", { value: own, selected: String(own) === String(chosen) && "" }, words))));
  }

  function drawChoices() {
    const kinds = Object.keys(page.segments).filter((kind) => kind !== WHOLE);
    const periods = Object.keys(page.periods).filter((kind) => page.periods[kind].length).reverse();
    const asked = document.activeElement?.id;
    find("choose").setAttribute("aria-label", say("scorecard.choose"));
    find("choose").replaceChildren(
      choice("by-period", say("scorecard.period"), periods.map((own) => [own, say(`scorecard.${own}`)]), period,
        (own) => { period = own; }),
      choice("by-kind", say("scorecard.divide"), kinds.map((own) => [own, kindName(own)]), divided,
        (own) => { divided = own; segment = -1; }),
      choice("by-segment", say("scorecard.segment"), [-1, ...page.segments[divided].shown.keys()].map((own) =>
        [own, segmentName(divided, own)]), segment, (own) => { segment = Number(own); }));
    if (asked?.startsWith("by-")) find(asked).focus();
  }

  function part(key, ...children) {
    return el("section", {}, el("h2", {}, say(key)), ...children);
  }

  /** R8: what this pace of loss comes to in a year. */
  function loss() {
    const [share, money] = ["yearly_churn", "yearly_loss"].map((own) => newest(history(own)));
    if (!share || !money || !known(share.value) || !known(money.value)) return null;
    return el("p", { class: "loss" }, say("scorecard.loss", { period: span(money.at), amount: amount(money.value),
      share: formats.share.format(share.value) }));
  }

  /** R13: what the whole company lost in the newest final period, and why. */
  function lossesByReason() {
    const at = newest(history(LOST, period, WHOLE, -1));
    if (!at) return null;
    const lost = page.losses_by_reason[period].filter((own) => own.period === at.at);
    if (!lost.length) return el("p", { class: "soft" }, say("scorecard.no_losses", { period: span(at.at) }));
    const heads = ["reason", "contracts_lost", "arr_lost", "preventable"].map((own) => say(`scorecard.${own}`));
    const yes = (own) => say(own ? "scorecard.yes" : "scorecard.no");
    return sortable("losses", say("scorecard.losses_about", { period: span(at.at) }), heads, lost.map((own) => [
      { by: own.reason, show: known(own.reason) ? outside(own.reason) : say("scorecard.unknown") },
      { by: own.contracts, show: formats.whole.format(own.contracts) },
      { by: own.arr, show: amount(own.arr) },
      { by: yes(own.preventable), show: yes(own.preventable) }]));
  }

  function draw() {
    watch.disconnect();
    waiting = new Map();
    drawChoices();
    const of = (rules) => rules.flatMap((own) => page.measures.filter(({ rule }) => rule === own));
    const elsewhere = [...RATES, ...LENGTHS, ...RETENTION, ...MOVEMENTS, ...LOSSES, ...DUE];
    const ten = page.measures.filter(({ rule }) => !elsewhere.includes(rule));
    const order = (own) => Number(own.rule.slice(1));
    const cards = (shown, large) => el("div", { class: large ? "pair" : "cards" }, ...shown.map((own) => card(own, large)));
    find("card").replaceChildren(
      el("p", { id: "whom", role: "status" }, segment < 0 ? segmentName(divided, segment)
        : el("span", {}, `${kindName(divided)}: `, outside(segmentName(divided, segment)))),
      part("scorecard.rates", cards(of(RATES), true), el("p", { class: "soft" }, say("scorecard.legend")), sideBySide(),
        cards(of(LENGTHS))),
      part("scorecard.retention", loss(), cards(of(RETENTION))),
      part("scorecard.losses", cards(of(LOSSES)), lossesByReason()),
      part("scorecard.movements", cards(of(MOVEMENTS))),
      part("scorecard.ten", cards([...ten].sort((a, b) => order(a) - order(b)))),
      part("scorecard.due", cards(of(DUE))),
      el("section", {}, everyFigure(), el("p", { class: "soft" }, say("scorecard.quarters"))),
      el("section", { id: "paper" }, el("h2", {}, say("scorecard.definitions")), el("dl", {}, ...page.measures.flatMap((own) =>
        [el("dt", {}, `${own.rule} ${nameOf(own)}`), el("dd", {}, capital(own.definition[language]))]))));
    for (const place of waiting.keys()) watch.observe(place);
    document.documentElement.dataset.ready = "yes";
  }

  function speak(next) {
    language = next;
    setFormats();
    document.title = find("title").textContent = say("scorecard.title", { as_of: day(page.as_of) });
    find("standing").textContent = say("scorecard.standing", { as_of: day(page.as_of), currency: page.currency });
    draw();
  }

  function drawForPaper() {
    draw();
    [...waiting.keys()].forEach(drawWaiting);
  }

  find("choose").addEventListener("submit", (event) => event.preventDefault());
  offline.begin(speak, draw, drawForPaper);
})();
