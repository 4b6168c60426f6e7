"use strict";
(() => {
  const { page, find, known, say, value, locale, el, outside, plain, inNumbers, colour, axisOf, chart } = offline;
  const rows = page.rows;
  const narrow = matchMedia("(max-width: 700px)");
  const BANDS = ["high", "medium", "low"];
  const HEALTH = ["good", "fair", "poor"];
  const QUADRANTS = ["save", "save_and_grow", "grow", "keep"];
  const THEMES = ["value", "adoption", "support", "sponsor", "fit", "first_value", "contract", "care"];
  const REASONS = 5;
  const SHELVES = ["usage", "past", "people", "tickets", "opinion", "contract"];
  const SVG = "http://www.w3.org/2000/svg";

  let language = page.language;
  let table = null;
  let here = null;
  let opened = null;
  let order = null;
  let formats = {};
  let shortcuts = true;

  // --- words, numbers and days ----------------------------------------------------------------------

  function setFormats() {
    const number = (options) => new Intl.NumberFormat(locale(), options);
    const day = (options) => new Intl.DateTimeFormat(locale(), { timeZone: "UTC", ...options });
    formats = {
      whole: number({ maximumFractionDigits: 0 }),
      short: number({ notation: "compact", maximumFractionDigits: 1 }),
      share: number({ style: "percent", maximumFractionDigits: 0 }),
      points: number({ signDisplay: "exceptZero", maximumFractionDigits: 0 }),
      weight: number({ signDisplay: "exceptZero", minimumFractionDigits: 2, maximumFractionDigits: 2 }),
      day: day({ year: "numeric", month: "short", day: "numeric" }),
      month: day({ year: "numeric", month: "short" }),
      hours: number({ maximumFractionDigits: 1 }),
    };
  }

  const whole = (figure) => (known(figure) ? formats.whole.format(figure) : "–");
  const share = (figure) => (known(figure) ? formats.share.format(figure) : "–");
  const day = (text) => (text ? formats.day.format(new Date(`${text}T00:00:00Z`)) : "–");
  const month = (text) => (text ? formats.month.format(new Date(`${text}-01T00:00:00Z`)) : "–");
  const money = (figure) => (known(figure) ? [page.currency, whole(figure)].filter(Boolean).join(" ") : "–");
  const points = (change) => formats.points.format(Math.round(100 * change) + 0);

  const text = (column, i) => (rows[column].codes[i] < 0 ? null : rows[column].texts[rows[column].codes[i]]);
  const code = (column, codes, i) => (rows[column][i] < 0 ? null : codes[rows[column][i]]);
  const name = (i) => text("account_name", i) ?? text("account_id", i);
  const scored = (i) => text("status", i) === "scored";
  const alerts = (i) => (text("alerts", i) ?? "").split(";").filter(Boolean);
  const alertWords = (alert) => value("alerts", alert);
  const playbooks = (i) => page.plays.slots.map((slot) => slot[i]).filter((play) => play >= 0);
  const play = (place) => page.plays.library[place][language];
  const seen = new Map();
  page.alerts.row.forEach((i, place) => seen.set(i, [...(seen.get(i) ?? []), place]));

  function written(feature, figure) {
    const own = page.features[feature][language].own[figure];
    return own === undefined ? "–" : own;
  }

  /** A feature's sentence about one account: its pieces, with the figure and the peers' where they stand. */
  function sentence(feature, figure, i) {
    return filled(feature, figure < 0 ? null : page.features[feature][language].own[figure], i);
  }

  /** The same with any figure, as it is written; null where it is not known. */
  function filled(feature, said, i) {
    const words = page.features[feature][language];
    const fill = [said, words.peers[rows.group[i]]];
    return (said === null ? words.unknown : words.known).map((piece) => fill[piece] ?? piece).join("");
  }

  function speaker(k, i) {
    const [who, said] = page.shown_reasons[k];
    return who[i] < 0 ? null : { feature: who[i], words: sentence(who[i], said[i], i) };
  }

  function reason(k, i) {
    const told = speaker(k, i);
    if (!told) return null;
    const theme = value("theme", page.features[told.feature].theme);
    const background = rows[`reason_${k + 1}_actionable`][i] === 0;
    return { ...told, theme: background ? say("page.background", { theme }) : theme };
  }

  // --- elements -------------------------------------------------------------------------------------

  function svg(tag, given, ...children) {
    const made = document.createElementNS(SVG, tag);
    for (const [key, own] of Object.entries(given)) made.setAttribute(key, own);
    made.append(...children);
    return made;
  }

  function badge(i) {
    const band = code("risk_band", BANDS, i);
    if (!band) return el("span", { class: "soft" }, say("page.not_scored"));
    return el("span", { class: `badge ${band}` }, value("risk_band", band));
  }

  const HEALTH_CLASS = { good: "low", fair: "medium", poor: "high" };

  function healthWord(i) {
    const health = code("health", HEALTH, i);
    return health ? el("span", { class: `badge ${HEALTH_CLASS[health]}` }, value("health", health)) : "–";
  }

  function chance(i) {
    const own = rows.renewal_probability[i];
    if (!known(own)) return el("span", { class: "soft" }, "–");
    const [low, high] = [rows.renewal_low[i], rows.renewal_high[i]];
    const said = say("page.interval", { low: share(low), high: share(high) });
    const rect = (kind, from, to, y, height) =>
      svg("rect", { class: kind, x: 100 * from, width: 100 * Math.max(to - from, 0.01), y, height, rx: 1 });
    const drawn = svg(
      "svg",
      { viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": "true" },
      rect("track", 0, 1, 5, 2), rect("span", low, high, 3, 6), rect("point", own - 0.01, own + 0.01, 0, 12),
    );
    return el("span", { class: "chance", title: said }, el("b", {}, share(own)), drawn);
  }

  function change(i) {
    const moved = rows.probability_change[i];
    if (!known(moved)) return el("span", { class: "soft" }, "–");
    return el("span", { class: moved < -0.005 ? "down" : moved > 0.005 ? "up" : "soft" }, points(moved));
  }

  /** Why an account has no score; empty where it has one. */
  function whyNot(i) {
    const { codes, texts } = page.not_scored_reasons[language];
    return texts[codes[i]] ?? "";
  }

  function firstReason(i) {
    const told = reason(0, i);
    if (!told) return el("span", { class: "soft", title: whyNot(i) }, scored(i) ? "–" : value("status", text("status", i)));
    return el("span", { class: "why", title: told.words },
      el("span", { class: "theme cut" }, told.theme), el("span", { class: "cut" }, told.words));
  }

  function alertBadges(i) {
    const [first, ...others] = alerts(i).map(alertWords);
    if (!first) return el("span");
    return el("span", { class: "badges", title: [first, ...others].join("\n") }, el("span", { class: "badge alert" }, first),
      others.length ? `+${others.length}` : null);
  }

  // --- the table ------------------------------------------------------------------------------------

  const collator = new Intl.Collator(["zh-Hans-CN", "en"], { numeric: true });
  const numeric = (a, b) => a - b;
  const spelt = (a, b) => collator.compare(a, b);

  /** Nothing comes last, whichever way the column is sorted. */
  function sorter(compare) {
    return (a, b, _a, _b, _column, direction) => {
      if (known(a) && known(b)) return compare(a, b);
      const last = direction === "asc" ? 1 : -1;
      return known(a) ? -last : known(b) ? last : 0;
    };
  }

  const anyScored = () => page.summary.scored > 0;
  const COLUMNS = [
    { field: "rank", width: 58, heading: "page.rank", compare: numeric, right: true, show: (i) => whole(rows.rank[i]) },
    { field: "account_name", minWidth: 130, grow: 2, compare: spelt, show: (i) => outside(name(i), { class: "cut" }) },
    { field: "csm", width: 112, compare: spelt, show: (i) => outside(text("csm", i), { class: "cut" }) },
    { field: "renewal_date", width: 130, compare: spelt, show: (i) => el("span", { class: "keep" }, day(text("renewal_date", i))) },
    { field: "arr", width: 96, compare: numeric, right: true, show: (i) => whole(rows.arr[i]) },
    { field: "risk_band", width: 96, compare: numeric, show: badge, when: anyScored },
    { field: "health", width: 110, compare: numeric, show: healthWord, when: () => !anyScored() },
    { field: "renewal_probability", width: 145, compare: numeric, show: chance, when: anyScored },
    { field: "probability_change", width: 92, compare: numeric, right: true, heading: "page.change", show: change,
      when: anyScored },
    { field: "reason", minWidth: 170, grow: 4, compare: spelt, heading: "page.first_reason", show: firstReason,
      when: anyScored },
    { field: "playbook", minWidth: 110, grow: 1, compare: (a, b) => spelt(play(a).name, play(b).name),
      heading: "page.playbook", show: (i) => outside(firstPlay(i), { class: "cut" }),
      when: () => page.plays.slots[0].some((own) => own >= 0) },
    { field: "alerts", minWidth: 130, grow: 1, compare: numeric, show: alertBadges,
      when: () => rows.alerts.texts.length },
  ];
  const firstPlay = (i) => (playbooks(i).length ? play(playbooks(i)[0]).name : null);
  const columnsShown = () => COLUMNS.filter((column) => !column.when || column.when());
  const heading = (column) => say(column.heading ?? `heading.${column.field}`);

  function account(i) {
    return {
      i,
      rank: rows.rank[i],
      account_name: name(i),
      csm: text("csm", i),
      renewal_date: text("renewal_date", i),
      arr: rows.arr[i],
      risk_band: rows.risk_band[i] < 0 ? null : rows.risk_band[i],
      health: rows.health[i] < 0 ? null : rows.health[i],
      renewal_probability: rows.renewal_probability[i],
      probability_change: rows.probability_change[i],
      reason: code("reason_1_theme", THEMES, i),
      playbook: playbooks(i)[0] ?? null,
      alerts: alerts(i).length || null,
    };
  }
  const accounts = Array.from({ length: page.shown }, (_, i) => account(i));
  const hay = accounts.map(({ i }) =>
    [text("account_name", i), text("account_id", i), text("csm", i)].join("\n").toLocaleLowerCase());

  function cell(column) {
    return (own) => {
      const made = column.show(own.getData().i);
      return typeof made === "string" ? document.createTextNode(made) : made;
    };
  }

  function wideColumns() {
    return columnsShown().map((column) => ({
      field: column.field,
      title: heading(column),
      hozAlign: column.right ? "right" : "left",
      vertAlign: "middle",
      formatter: cell(column),
      sorter: sorter(column.compare),
      headerSortStartingDir: column.field === "arr" ? "desc" : "asc",
      ...(column.width ? { width: column.width } : { minWidth: column.minWidth, widthGrow: column.grow }),
    }));
  }

  function card(i) {
    const line = (...parts) => el("div", { class: "line" }, ...parts);
    return el("div", { class: "card" },
      line(el("strong", {}, outside(name(i))), badge(i)),
      line(chance(i), el("span", {}, money(rows.arr[i]))),
      line(outside(text("csm", i), { class: "soft" }), el("span", { class: "soft" }, day(text("renewal_date", i)))),
      firstReason(i));
  }

  function narrowColumns() {
    const hidden = columnsShown().map((column) => ({
      field: column.field, title: heading(column), visible: false, sorter: sorter(column.compare),
    }));
    const shown = { field: "i", title: say("heading.account_name"), headerSort: false, formatter: (own) =>
      card(own.getData().i) };
    return [shown, ...hidden];
  }

  function draw() {
    const sorters = table ? table.getSorters().map(({ field, dir }) => ({ column: field, dir })) : [];
    if (table) table.destroy();
    order = null;
    table = new Tabulator("#table", {
      data: accounts,
      index: "i",
      height: "100%",
      layout: "fitColumns",
      columns: narrow.matches ? narrowColumns() : wideColumns(),
      rowHeight: narrow.matches ? 122 : 46,
      columnHeaderSortMulti: true,
      keybindings: false,
      placeholder: say("page.nothing"),
      initialSort: sorters.filter(({ column }) => column !== "i"),
      initialFilter: passes,
      rowFormatter: (row) => dress(row),
    });
    table.on("rowClick", (_, row) => open(row.getData().i));
    table.on("dataFiltered", () => { order = null; });
    table.on("dataSorted", () => { order = null; });
    table.on("dataFiltered", (_, found) => counted(found.length));
    table.on("tableBuilt", () => {
      const grid = find("table");
      grid.tabIndex = 0;
      grid.setAttribute("aria-label", say("page.table"));
      grid.setAttribute("aria-rowcount", String(page.shown));
      grid.querySelector(".tabulator-tableholder").tabIndex = -1;
      document.documentElement.dataset.ready = "yes";
    });
  }

  function dress(row) {
    const element = row.getElement();
    element.id = `account-${row.getData().i}`;
    element.classList.toggle("here", row.getData().i === here);
    element.setAttribute("aria-selected", String(row.getData().i === here));
  }

  /** The rows as they stand, filtered and sorted. */
  function standing() {
    order ??= table.getRows("active");
    return order;
  }

  function go(step) {
    const all = standing();
    if (!all.length) return;
    const at = all.findIndex((row) => row.getData().i === here);
    const to = at < 0 && Number.isFinite(step) ? 0 : at + step;
    moveTo(all[Math.min(Math.max(to, 0), all.length - 1)]);
  }

  function moveTo(row) {
    const before = here;
    here = row.getData().i;
    table.scrollToRow(row, "nearest", false).catch(() => undefined);
    for (const i of [before, here]) {
      const own = i === null ? false : table.getRow(i);
      if (own) dress(own);
    }
    find("table").setAttribute("aria-activedescendant", `account-${here}`);
  }

  const STEPS = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };

  function onGridKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in STEPS) go(STEPS[event.key]);
    else if (event.key === "Enter" && here !== null && event.target === find("table")) open(here);
    else return;
    event.preventDefault();
  }

  // --- filters --------------------------------------------------------------------------------------

  const wanted = { text: "", csm: "", band: "", quadrant: "", alert: "" };

  function passes({ i }) {
    return (
      (!wanted.text || hay[i].includes(wanted.text)) &&
      (!wanted.csm || rows.csm.codes[i] === Number(wanted.csm)) &&
      (!wanted.band || (wanted.band === "none" ? !scored(i) : BANDS[rows.risk_band[i]] === wanted.band)) &&
      (!wanted.quadrant || QUADRANTS[rows.quadrant[i]] === wanted.quadrant) &&
      (!wanted.alert || alerts(i).includes(wanted.alert))
    );
  }

  function filter(what, own) {
    wanted[what] = what === "text" ? own.trim().toLocaleLowerCase() : own;
    table.setFilter(passes);
  }

  function counted(found) {
    const more = page.accounts > page.shown ? ` · ${say("page.more", { shown: whole(page.shown), all: whole(page.accounts) })}` : "";
    find("count").textContent = say("page.count", { found: whole(found), all: whole(page.shown) }) + more;
  }

  function choice(what, every, options) {
    const made = el("select", { id: `by-${what}`, "aria-label": every, onchange: () => filter(what, made.value) },
      el("option", { value: "" }, every),
      ...options.map(([own, words]) => el("option", { value: own, dir: "auto" }, words)));
    made.value = wanted[what];
    return made;
  }

  function drawFilters() {
    const field = el("input", {
      type: "search", id: "by-text", placeholder: say("page.search"), "aria-label": say("page.search"),
      "aria-keyshortcuts": shortcuts && "/", autocomplete: "off", spellcheck: "false", value: wanted.text,
    });
    field.addEventListener("input", () => filter("text", field.value));
    field.addEventListener("keydown", (event) => onSearchKey(event, field));
    const managers = rows.csm.texts.map((words, place) => [String(place), words]);
    managers.sort(([, a], [, b]) => spelt(a, b));
    const bands = BANDS.map((band) => [band, `${say("heading.risk_band")}: ${value("risk_band", band)}`]);
    const unscored = accounts.some(({ i }) => !scored(i)) ? [["none", say("page.not_scored")]] : [];
    const raised = [...new Set(rows.alerts.texts.flatMap((words) => words.split(";")))].filter(Boolean).sort();
    find("filters").replaceChildren(
      field,
      choice("csm", say("page.every_manager"), managers),
      choice("band", say("page.every_band"), [...bands, ...unscored]),
      choice("quadrant", say("page.every_quadrant"), QUADRANTS.map((own) => [own, value("quadrant", own)])),
      ...(raised.length ? [choice("alert", say("page.every_alert"), raised.map((own) => [own, alertWords(own)]))] : []),
      ...(narrow.matches ? [sortChoice()] : []),
    );
  }

  function sortChoice() {
    const made = el("select", { "aria-label": say("page.sort"), onchange: () => {
      const [field, dir] = made.value.split(" ");
      if (field) table.setSort(field, dir);
      else table.clearSort();
    } }, el("option", { value: "" }, say("page.sort")),
    ...columnsShown().filter(({ field }) => field !== "reason" && field !== "playbook").map((column) =>
      el("option", { value: `${column.field} ${["arr", "alerts"].includes(column.field) ? "desc" : "asc"}` },
        heading(column))));
    return made;
  }

  function onSearchKey(event, field) {
    if (event.key === "Escape" && field.value) {
      field.value = "";
      filter("text", "");
    } else if (event.key === "Enter" || event.key === "ArrowDown") {
      find("table").focus();
      go(-Infinity);
    } else return;
    event.preventDefault();
  }

  // --- the drawer -----------------------------------------------------------------------------------

  function open(i) {
    opened = here = i;
    const row = table.getRow(i);
    if (row) moveTo(row);
    if (!find("drawer").open) find("drawer").showModal();
    fillDrawer();
    find("drawer").scrollTop = 0;
    find("drawer").querySelector(".close").focus();
  }

  function step(by) {
    const all = standing().map((row) => row.getData().i);
    const next = all[all.indexOf(opened) + by];
    if (next !== undefined) open(next);
  }

  function fillDrawer() {
    const i = opened;
    const button = (key, sign, act, kind) =>
      el("button", { type: "button", class: kind, "aria-label": say(key), title: say(key), onclick: act }, sign);
    const head = el("div", { class: "drawer-head" },
      el("h2", { id: "drawer-title" }, outside(name(i))),
      button("page.previous", "↑", () => step(-1), "previous"),
      button("page.next", "↓", () => step(1), "next"),
      button("page.close", "✕", () => find("drawer").close(), "close"));
    find("drawer").replaceChildren(head, ...[
      facts(i), alertsOf(i), reasonsOf(i), playbooksOf(i), whatifOf(i), strengthsOf(i), pushesOf(i), overTime(i),
      changeOf(i), ...SHELVES.map((shelf) => figuresOf(shelf, i)),
    ].filter(Boolean));
    drawOverTime(i);
  }

  function part(key, ...children) {
    return el("section", {}, el("h3", {}, say(key)), ...children);
  }

  const told = (kind, lines) => el("ul", { class: `told ${kind}` }, ...lines.map((line) => el("li", {}, ...[line].flat())));

  function inContract(i) {
    const currency = text("contract_currency", i);
    return currency && currency !== page.currency ? `${currency} ${whole(rows.contract_amount[i])}` : null;
  }

  function facts(i) {
    const quadrant = code("quadrant", QUADRANTS, i), health = code("health", HEALTH, i);
    const pairs = [
      ["heading.account_id", outside(text("account_id", i))],
      ["heading.csm", outside(text("csm", i))],
      ["heading.risk_band", badge(i)],
      ["heading.health", health ? value("health", health) : null],
      ["heading.status", scored(i) ? null : value("status", text("status", i))],
      ["heading.status_reason", whyNot(i) || null],
      ["heading.renewal_probability", scored(i) ? el("span", {}, chance(i), el("span", { class: "soft" },
        say("page.interval", { low: share(rows.renewal_low[i]), high: share(rows.renewal_high[i]) }))) : null],
      ["heading.products", outside(text("products", i))],
      ["heading.arr", money(rows.arr[i])],
      ["heading.contract_amount", inContract(i)],
      ["heading.account_arr", rows.account_arr[i] === rows.arr[i] ? null : money(rows.account_arr[i])],
      ["heading.arr_at_risk", scored(i) ? money(rows.arr_at_risk[i]) : null],
      ["heading.renewal_date", day(text("renewal_date", i))],
      ["heading.days_to_renewal", whole(rows.days_to_renewal[i])],
      ["heading.notice_date", day(text("notice_date", i))],
      ["heading.stage", value("stage", text("stage", i))],
      ["heading.size_band", text("size_band", i) ? value("size_band", text("size_band", i)) : null],
      ["heading.expansion_probability", known(rows.expansion_probability[i]) ? share(rows.expansion_probability[i]) : null],
      ["heading.quadrant", quadrant ? value("quadrant", quadrant) : null],
      ["heading.rank", known(rows.rank[i]) ? whole(rows.rank[i]) : null],
    ];
    return el("dl", { class: "facts" }, ...pairs.filter(([, own]) => own !== null).map(([key, own]) =>
      el("div", {}, el("dt", {}, say(key)), el("dd", {}, own))));
  }

  /** What the rules say, each with what was seen. */
  function alertsOf(i) {
    const own = seen.get(i) ?? [];
    const { code: codes, sentences, new: fresh } = page.alerts;
    const lines = own.map((place) => [
      el("span", { class: "badge alert" }, alertWords(codes.texts[codes.codes[place]])),
      fresh[place] ? el("span", { class: "badge new" }, say("page.new")) : null,
      el("span", { class: "seen" }, sentences[language].texts[sentences[language].codes[place]]),
    ].filter(Boolean));
    return own.length ? part("heading.alerts", told("", lines)) : null;
  }

  function reasonsOf(i) {
    const lines = Array.from({ length: REASONS }, (_, k) => reason(k, i)).filter(Boolean)
      .map(({ theme, words }) => [el("span", { class: "theme" }, theme), words]);
    return lines.length ? part("page.reasons", told("loss", lines)) : null;
  }

  function strengthsOf(i) {
    const lines = page.shown_reasons.slice(REASONS).map((_, k) => speaker(REASONS + k, i)).filter(Boolean).map((own) =>
      [el("span", { class: "theme" }, value("theme", page.features[own.feature].theme)), own.words]);
    return lines.length ? part("page.strengths", told("gain", lines)) : null;
  }

  /** What each theme adds, the strongest towards loss first: to the left towards loss, to the right towards renewal. */
  function pushesOf(i) {
    const own = Object.entries(page.themes).map(([theme, pushes]) => [theme, pushes[i]]).filter(([, push]) => known(push));
    if (!own.length) return null;
    own.sort(([, a], [, b]) => a - b);
    const most = Math.max(...own.map(([, push]) => Math.abs(push)), 0.01);
    const bars = own.flatMap(([theme, push]) => {
      const wide = (48 * Math.abs(push)) / most;
      const kind = push < 0 ? "towards-loss" : "towards-gain";
      const said = say(push < 0 ? "page.towards_loss" : "page.towards_renewal");
      const bar = svg("svg", { viewBox: "0 0 100 14", preserveAspectRatio: "none", role: "img", "aria-label": said },
        svg("rect", { class: kind, x: push < 0 ? 50 - wide : 50, y: 2, width: wide, height: 10 }),
        svg("line", { x1: 50, x2: 50, y1: 0, y2: 14, "vector-effect": "non-scaling-stroke" }));
      return [el("span", {}, value("theme", theme)), bar, el("b", {}, formats.weight.format(push))];
    });
    return part("page.pushes", el("p", { class: "soft" }, say("page.pushes_about")), el("div", { class: "bars" }, ...bars));
  }

  function pastOf(i) {
    const past = Object.entries(page.probability_history).map(([at, chances]) => ({ at, chance: chances[i] }));
    return [...past.filter(({ chance: own }) => known(own)), { at: page.as_of, chance: rows.renewal_probability[i] }];
  }

  function overTime(i) {
    if (pastOf(i).length < 2 || !scored(i)) return null;
    const lines = pastOf(i).map(({ at, chance: own }) => [day(at), share(own)]);
    return part("page.over_time", el("div", { id: "over-time", role: "img", "aria-label": say("page.over_time") }),
      inNumbers([say("heading.as_of"), say("heading.renewal_probability")], lines));
  }

  function drawOverTime(i) {
    const place = document.getElementById("over-time");
    if (!place) return;
    const values = pastOf(i).map(({ at, chance: own }) => ({ at: day(at), chance: own }));
    chart(place, 150, {
      data: { values },
      mark: { type: "line", point: true },
      encoding: {
        x: { field: "at", type: "ordinal", sort: null, axis: { title: null, labelAngle: 0, labelOverlap: true } },
        y: { field: "chance", type: "quantitative", scale: { domain: [0, 1] }, axis: { title: null, format: ".0%" } },
      },
    });
  }

  function changeOf(i) {
    const own = page.changes[language];
    const words = own && own.codes[i] >= 0 ? own.texts[own.codes[i]] : null;
    return words ? part("page.changed", el("p", {}, words)) : null;
  }

  /** The plays, the first one open, and what the best of them is worth. */
  function playbooksOf(i) {
    const own = playbooks(i);
    if (!own.length) return null;
    const best = page.plays.best[i];
    return part("page.playbooks", ...own.map((place, k) => playOf(place, k === 0, place === best ? page.plays.gain[i] : 0)));
  }

  function playOf(place, open, gain) {
    const { hours } = page.plays.library[place];
    const { name: called, owner, steps, effect } = play(place);
    const spent = formats.hours.format(hours);
    return el("details", { class: "play", open: open && "" },
      el("summary", {}, outside(called), el("span", { class: "soft" }, outside(owner), " · ",
        say("page.hours", { hours: spent }))),
      gain > 0 ? el("p", { class: "worth" }, say("page.worth", { gain: money(gain), hours: spent })) : null,
      el("ol", {}, ...steps.map((one) => el("li", {}, outside(one)))),
      el("p", { class: "soft" }, say("page.effect", { effect })));
  }

  // --- what if --------------------------------------------------------------------------------------

  /** The steps of a figure, rising, the account's own among them; `chance` in percent, null for its own. */
  function stepsOf(one, i) {
    const said = one.steps[language][rows.group[i]] ?? [];
    const made = said.map((own, k) => ({ said: own, chance: one.chances[k][i] })).filter(({ chance: own }) => own >= 0);
    const own = page.figures[one.feature][i];
    const now = { said: own < 0 ? null : page.features[one.feature][language].own[own], chance: null };
    return made.length ? made.toSpliced(one.below[i], 0, now) : [];
  }

  /** One slider a figure; to move one sets the others back, for each answer is of one figure alone. */
  function whatifOf(i) {
    if (!scored(i)) return null;
    const made = page.whatif.map((one, k) => [one, k, stepsOf(one, i)]).filter(([, , steps]) => steps.length)
      .map(([one, k, steps]) => slider(one.feature, k, steps, i, () => made.forEach((own) => own.back())));
    if (!made.length) return null;
    return part("page.whatif", el("p", { class: "soft" }, say("whatif.caveat")),
      el("p", { class: "soft" }, say("page.whatif_about")), ...made.map(({ box }) => box));
  }

  function slider(feature, k, steps, i, others) {
    const now = steps.findIndex(({ chance: own }) => own === null);
    const label = el("label", { for: `if-${k}` });
    const answer = el("output", { for: `if-${k}` });
    const marks = el("datalist", { id: `if-${k}-now` }, el("option", { value: now }));
    const range = el("input", { type: "range", id: `if-${k}`, min: 0, max: steps.length - 1, step: 1, value: now,
      list: `if-${k}-now`, oninput: () => { const to = range.value; others(); range.value = to; tell(); } });
    const reset = el("button", { type: "button", onclick: () => { back(); range.focus(); } }, say("page.as_it_is"));
    const box = el("div", { class: "try" }, label, el("div", { class: "line" }, range, answer, reset), marks);
    const back = () => { range.value = String(now); tell(); };

    function tell() {
      const { said, chance: then } = steps[range.value];
      const present = share(rows.renewal_probability[i]);
      const words = filled(feature, said, i);
      const chances = then === null ? [present] : [present, " → ", el("b", { class: turn(then, present) }, share(then / 100))];
      label.textContent = words;
      answer.replaceChildren(`${say("heading.renewal_probability")} `, ...chances);
      range.setAttribute("aria-valuetext", `${words}. ${answer.textContent}`);
      reset.hidden = then === null;
    }

    tell();
    return { box, back };
  }

  function turn(then, present) {
    const now = Number.parseInt(present.replace(/\D/g, ""), 10);
    return then > now ? "up" : then < now ? "down" : "";
  }

  function figuresOf(shelf, i) {
    if (!scored(i)) return null;
    const lines = (page.panels[shelf] ?? []).map((feature) => sentence(feature, page.figures[feature][i], i));
    const people = shelf === "people" ? tiersOf(i) : null;
    if (!lines.length && !people) return null;
    return part(`page.${shelf}`, people, shelf === "contract" ? datesOf(i) : null, lines.length ? told("", lines) : null);
  }

  function datesOf(i) {
    const began = known(page.started[i]) ? addDays(page.as_of, -page.started[i]) : null;
    const pairs = [["page.began", day(began)], ["heading.renewal_date", day(text("renewal_date", i))]];
    return el("dl", { class: "facts" }, ...pairs.map(([key, own]) => el("div", {}, el("dt", {}, say(key)), el("dd", {}, own))));
  }

  const addDays = (text, days) => new Date(Date.parse(`${text}T00:00:00Z`) + 864e5 * days).toISOString().slice(0, 10);

  /** The people of each tier: how many are known, how many came, and when they were last seen and met. */
  function tiersOf(i) {
    const own = Object.entries(page.tiers).filter(([, features]) => features.some((feature) => feature >= 0));
    if (!own.length) return null;
    const figure = (feature) => (feature < 0 ? "–" : written(feature, page.figures[feature][i]));
    const lines = own.map(([tier, features]) => {
      const figures = features.map(figure);
      const silent = Number(figures[0]) > 0 && figures[1] === "0";
      return [value("tier", tier), figures[0], silent ? el("span", { class: "silent" }, say("page.silent")) : figures[1],
        ...figures.slice(2)];
    });
    const heads = ["tier", "known", "active", "last_use", "last_met", "nps"].map((head) => say(`page.people.${head}`));
    return el("div", { class: "scroll" }, plain(heads, lines));
  }

  // --- charts and their text ------------------------------------------------------------------------

  const bandColour = () => ({ domain: BANDS.map((own) => value("risk_band", own)),
    range: ["--loss", "--middle", "--gain"].map(colour) });

  function figure(key, height, spec, heads, lines, note) {
    const place = el("div", { role: "img", "aria-label": say(key) });
    const made = el("figure", {}, el("figcaption", {}, say(key)), note ? el("p", { class: "soft" }, note) : null, place,
      inNumbers(heads, lines));
    return { made, draw: () => chart(place, height, spec) };
  }

  const axis = (title, more = {}) => ({ title, ...more });
  const MONEY = axisOf("number");

  function byMonth() {
    const months = page.summary.months;
    const values = months.map((own) => ({ month: month(own.month), at: own.arr_at_risk }));
    return figure("page.by_month", 220, {
      data: { values }, mark: "bar",
      encoding: { x: { field: "month", type: "ordinal", sort: null, axis: axis(null, { labelAngle: -40 }) },
        y: { field: "at", type: "quantitative", axis: axis(page.currency, MONEY) } },
    }, [say("page.month"), ...["accounts", "arr", "arr_at_risk"].map(sumHead)],
    months.map((own) => [month(own.month), whole(own.accounts), whole(own.arr), whole(own.arr_at_risk)]));
  }

  const sumHead = (own) => say(own === "accounts" ? "page.accounts" : `heading.${own}`);

  function byCode(key, kind, parts, scale) {
    const values = parts.map((own) => ({ part: value(kind, own[kind]), accounts: own.accounts }));
    return figure(key, 40 + 30 * parts.length, {
      data: { values }, mark: "bar",
      encoding: { y: { field: "part", type: "nominal", sort: null, axis: axis(null) },
        x: { field: "accounts", type: "quantitative", axis: axis(say("page.accounts"), { tickMinStep: 1 }) },
        ...(scale ? { color: { field: "part", type: "nominal", scale, legend: null } } : {}) },
    }, [say(`heading.${kind}`), ...["accounts", "arr", "arr_at_risk"].map(sumHead)],
    parts.map((own) => [value(kind, own[kind]), whole(own.accounts), whole(own.arr), whole(own.arr_at_risk)]));
  }

  function byManager() {
    const managers = page.summary.managers;
    const who = (own) => own.name ?? say("page.nobody");
    const values = managers.filter((own) => known(own.load)).map((own) => ({ who: who(own), load: own.load }));
    const left = page.summary.managers_left_out;
    const note = say("page.load_about") + (left ? ` ${say("page.managers_left", { number: whole(left) })}` : "");
    return figure("page.by_manager", 40 + 24 * values.length, {
      data: { values },
      layer: [
        { mark: "bar", encoding: { y: { field: "who", type: "nominal", sort: null, axis: axis(null) },
          x: { field: "load", type: "quantitative", axis: axis(null, { format: ".0%" }) },
          color: { condition: { test: "datum.load > 1", value: colour("--loss") }, value: colour("--link") } } },
        { mark: { type: "rule", strokeDash: [4, 3] }, encoding: { x: { datum: 1, type: "quantitative" } } },
      ],
    }, [say("heading.csm"), say("page.accounts"), say("page.room_accounts"), say("heading.arr"), say("page.room_arr"),
      say("heading.arr_at_risk")],
    managers.map((own) => [outside(who(own)), whole(own.accounts), whole(own.most_accounts), whole(own.arr),
      whole(own.most_arr), whole(own.arr_at_risk)]), note);
  }

  function foretold() {
    const quarters = page.summary.forecast.filter((own) => own.period_kind === "quarter" && own.measure === "arr_renewed");
    if (!quarters.length) return null;
    const due = Object.fromEntries(page.summary.forecast.filter((own) => own.period_kind === "quarter" &&
      own.measure === "arr_due").map((own) => [own.period, own.expected]));
    const until = (own) => say("page.until", { month: month(own.period) });
    const values = quarters.map((own) => ({ quarter: until(own), ...own, due: due[own.period] ?? null }));
    const x = { field: "quarter", type: "ordinal", sort: null, axis: axis(null, { labelAngle: 0 }) };
    const y = { type: "quantitative", axis: axis(page.currency, MONEY) };
    return figure("page.forecast", 220, {
      data: { values },
      layer: [
        { mark: { type: "bar", opacity: 0.25 }, encoding: { x, y: { field: "due", ...y } } },
        { mark: { type: "rule", strokeWidth: 3 }, encoding: { x, y: { field: "low", ...y }, y2: { field: "high" } } },
        { mark: { type: "point", filled: true, size: 80, opacity: 1 }, encoding: { x, y: { field: "expected", ...y } } },
      ],
    }, [say("forecast.quarter"), say("forecast.arr_due"), say("forecast.arr_renewed"), say("page.low"), say("page.high")],
    values.map((own) => [own.quarter, whole(own.due), whole(own.expected), whole(own.low), whole(own.high)]),
    say("page.forecast_about", { confidence: share(quarters[0].confidence) }));
  }

  function drawSummary() {
    const figures = [byMonth(), byCode("page.by_band", "risk_band", page.summary.bands, bandColour()),
      byCode("page.by_quadrant", "quadrant", page.summary.quadrants), byManager(), foretold()].filter(Boolean);
    find("view-summary").replaceChildren(el("div", { class: "charts" }, ...figures.map(({ made }) => made)));
    for (const own of figures) own.draw();
  }

  function drawAbout() {
    const names = Object.keys(page.words[language]).filter((key) => key.startsWith("about."));
    const shown = names.map((key) => key.slice("about.".length)).filter((own) => !/^reason_|_model$|^as_of$/.test(own));
    const head = (own) => say(`heading.${own}`, { number: "" }).trim();
    find("view-about").replaceChildren(
      el("h2", {}, say("page.keys")), el("p", {}, say("page.keys_about")), shortcutChoice(),
      el("h2", {}, say("page.meanings")),
      el("dl", { class: "meanings" }, ...shown.flatMap((own) =>
        [el("dt", {}, head(own)), el("dd", {}, page.words[language][`about.${own}`])])),
      ...aboutData());
  }

  /** What the models did with columns that have only today's value; empty where there are none. */
  function aboutData() {
    const sentences = page.history[language];
    if (!sentences.length) return [];
    return [el("h2", {}, say("page.about_data")),
      el("div", { class: "about-data" }, ...sentences.map((own) => el("p", {}, own)))];
  }

  /** A single letter may be spoken or hit by chance: who wants none turns it off, until the page is closed. */
  function shortcutChoice() {
    const box = el("input", { type: "checkbox", id: "shortcuts", onchange: () => { shortcuts = box.checked; drawFilters(); } });
    box.checked = shortcuts;
    return el("p", {}, el("label", { class: "choice" }, box, " ", say("page.shortcuts")));
  }

  // --- the whole page -------------------------------------------------------------------------------

  const VIEWS = { list: () => undefined, summary: drawSummary, about: drawAbout };
  let view = "list";

  function drawViews() {
    find("views").replaceChildren(...Object.keys(VIEWS).map((own) => el("button", {
      type: "button", role: "tab", id: `tab-${own}`, "aria-controls": `view-${own}`, "aria-selected": String(own === view),
      tabindex: own === view ? "0" : "-1", onclick: () => show(own),
    }, say(`page.view.${own}`))));
    for (const own of Object.keys(VIEWS)) {
      find(`view-${own}`).hidden = own !== view;
      find(`view-${own}`).setAttribute("aria-labelledby", `tab-${own}`);
    }
  }

  function show(next) {
    view = next;
    drawViews();
    VIEWS[view]();
    find(`tab-${view}`).focus();
  }

  function onTabKey(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const names = Object.keys(VIEWS);
    show(names[(names.indexOf(view) + step + names.length) % names.length]);
    event.preventDefault();
  }

  function drawSums() {
    const high = page.summary.bands.find((own) => own.risk_band === "high");
    const short = (own) => formats.short.format(own);
    const sum = narrow.matches ? short : language === "zh" ? (own) => [page.currency, short(own)].filter(Boolean).join(" ") : money;
    const pairs = [["page.customers", whole(page.summary.customers)], ["heading.arr", sum(page.summary.arr)],
      ...(anyScored() ? [["heading.arr_at_risk", sum(page.summary.arr_at_risk)], ["page.high_risk", whole(high.accounts)]] : [])];
    find("sums").replaceChildren(...pairs.map(([key, own]) =>
      el("div", {}, el("dt", {}, say(key)), el("dd", {}, own))));
  }

  function speak(next) {
    language = next;
    setFormats();
    document.title = find("title").textContent = say("page.title", { as_of: day(page.as_of) });
    find("views").setAttribute("aria-label", say("page.views"));
    drawSums();
    drawFilters();
    drawViews();
    draw();
    VIEWS[view]();
    if (find("drawer").open) fillDrawer();
  }

  function shine() {
    VIEWS[view]();
    if (find("drawer").open) fillDrawer();
  }

  /** Paper has no window onto rows that are made as they are scrolled to: it gets all of the filtered list. */
  function forPaper() {
    document.body.classList.toggle("printing-list", view === "list");
    if (view !== "list") return;
    const shown = columnsShown();
    const lines = standing().map((row) => shown.map(({ field, show: own }) =>
      field === "reason" ? reasonOnPaper(row.getData().i) : field === "renewal_probability"
        ? share(rows.renewal_probability[row.getData().i]) : own(row.getData().i)));
    find("print").replaceChildren(plain(shown.map(heading), lines));
  }

  function reasonOnPaper(i) {
    const own = reason(0, i);
    return own ? `${own.theme}: ${own.words}` : "–";
  }

  function onKey(event) {
    if (!shortcuts || event.key !== "/" || find("drawer").open || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (view !== "list") show("list");
    find("by-text").focus();
    event.preventDefault();
  }

  function begin() {
    narrow.addEventListener("change", () => { drawSums(); drawFilters(); draw(); });
    find("filters").addEventListener("submit", (event) => event.preventDefault());
    find("views").addEventListener("keydown", onTabKey);
    find("table").addEventListener("keydown", onGridKey);
    find("drawer").addEventListener("click", (event) => { if (event.target === find("drawer")) find("drawer").close(); });
    find("drawer").addEventListener("close", () => find("table").focus());
    document.addEventListener("keydown", onKey);
    addEventListener("beforeprint", forPaper);
    addEventListener("afterprint", () => find("print").replaceChildren());
    offline.begin(speak, shine);
  }

  begin();
})();
