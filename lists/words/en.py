"""English: every word of the list that a person reads. The same keys and placeholders stand in `zh.py`."""

WORDS: dict[str, str] = {
    # headings of the columns
    "heading.as_of": "As of",
    "heading.account_id": "Account id",
    "heading.account_name": "Account",
    "heading.csm": "Manager",
    "heading.stage": "Stage",
    "heading.size_band": "Size",
    "heading.renewal_date": "Renewal date",
    "heading.days_to_renewal": "Days to renewal",
    "heading.arr": "ARR",
    "heading.currency": "Currency",
    "heading.status": "Scored?",
    "heading.renewal_probability": "Chance of renewal",
    "heading.renewal_low": "Chance, low end",
    "heading.renewal_high": "Chance, high end",
    "heading.risk_band": "Risk",
    "heading.arr_at_risk": "ARR at risk",
    "heading.upsell_probability": "Chance of up-sell",
    "heading.cross_sell_probability": "Chance of cross-sell",
    "heading.expansion_probability": "Chance of expansion",
    "heading.quadrant": "What to do",
    "heading.rank": "Rank",
    "heading.within_capacity": "Within capacity",
    "heading.reason": "Reason {number}",
    "heading.reason_feature": "Reason {number}: feature",
    "heading.reason_contribution": "Reason {number}: weight",
    "heading.reason_family": "Reason {number}: subject",
    "heading.reason_actionable": "Reason {number}: can be acted on",
    "heading.strength": "Strength {number}",
    "heading.playbook": "Playbook {number}",
    "heading.alerts": "Alerts",
    "heading.probability_change": "Change since last list",
    "heading.reason_change": "Why it changed",
    "heading.renewal_model": "Renewal model",
    "heading.expansion_model": "Expansion model",
    # what each column means
    "about.as_of": "The day the list stands on. Only what was known before this day was used.",
    "about.account_id": "The account's id in your systems.",
    "about.account_name": "The account's name, as known on that day.",
    "about.csm": "The customer-success manager who looks after the account.",
    "about.stage": "Where the account is in its term: onboarding, steady, or close to renewal.",
    "about.size_band": "The account's size by its recurring revenue.",
    "about.renewal_date": "The day the current term ends.",
    "about.days_to_renewal": "Days from the list's day to the renewal date.",
    "about.arr": "Annual recurring revenue of all running contracts.",
    "about.currency": "The currency of all amounts in the row.",
    "about.status": "Whether the account has a score, and if not, why not.",
    "about.renewal_probability": "How likely the renewal is. Of accounts shown with 80 %, about 8 in 10 renew.",
    "about.renewal_low": "The low end of the range in which the account's own chance lies, in four cases of five.",
    "about.renewal_high": "The high end of the range in which the account's own chance lies, in four cases of five.",
    "about.risk_band": (
        "High: the chance of loss is at least {high:.0%}. Medium: at least {medium:.0%}. Low: less than that."
    ),
    "about.arr_at_risk": "ARR times the chance of loss: the revenue lost on average among accounts like this one.",
    "about.upsell_probability": "How likely the account buys more seats or a higher plan in the next 180 days.",
    "about.cross_sell_probability": "How likely the account buys a product it does not have in the next 180 days.",
    "about.expansion_probability": "How likely either of the two happens in the next 180 days.",
    "about.quadrant": (
        "Risk and growth together. Growth counts as likely from {expansion:.0%} on; only high risk asks for saving."
    ),
    "about.rank": "Order among the manager's accounts by ARR at risk. Number 1 first.",
    "about.within_capacity": (
        "Whether the account is among the first that its manager can carry "
        "(default: {accounts:,} accounts and {arr:,.0f} of ARR)."
    ),
    "about.reason": (
        "What speaks most strongly for a loss, with the account's figure beside that of its peers: the middle "
        "account of the same size and stage. It shows what goes together with losses, not what causes them."
    ),
    "about.reason_feature": "The column of the feature table behind the reason.",
    "about.reason_contribution": (
        "How strongly the reason counts, in log-odds, all its time windows together. Negative is towards loss."
    ),
    "about.reason_family": "What the reason is about.",
    "about.reason_actionable": "Whether a manager can do something about it.",
    "about.strength": "What speaks most strongly for a renewal.",
    "about.playbook": "The steps prescribed for the reasons. Not filled yet.",
    "about.alerts": "Warnings that hold whatever the score says. Not filled yet.",
    "about.probability_change": (
        "Change of the chance of renewal since the list before: that of the same renewal only."
    ),
    "about.reason_change": (
        "What moved the chance since the list before, in points: new figures, the nearer renewal, a new model. The "
        "three add up to the change."
    ),
    "about.renewal_model": "Name and version of the model behind the chance of renewal.",
    "about.expansion_model": "Name and version of the model behind the chance of expansion.",
    # values
    "stage.onboarding": "Onboarding",
    "stage.steady": "Steady",
    "stage.pre_renewal": "Before renewal",
    "size_band.small": "Small",
    "size_band.medium": "Medium",
    "size_band.large": "Large",
    "status.scored": "Scored",
    "status.too_little_history": "Too little history to score",
    "status.unlike_training": "Unlike any account seen before",
    "risk_band.high": "High",
    "risk_band.medium": "Medium",
    "risk_band.low": "Low",
    "quadrant.save": "Save",
    "quadrant.save_and_grow": "Save and grow",
    "quadrant.grow": "Grow",
    "quadrant.keep": "Keep",
    "flag.yes": "Yes",
    "flag.no": "No",
    # what the reasons are about
    "family.commitment": "Contract",
    "family.usage": "Use of the product",
    "family.adoption": "Adoption",
    "family.stakeholders": "People and contacts",
    "family.tickets": "Support",
    "family.sentiment": "Satisfaction",
    "family.contact": "Contact",
    "family.value": "Value goals",
    "family.fit": "Fit",
    "family.advocacy": "Referrals",
    "family.care": "Playbooks run",
    "family.other": "Other",
    # sentences
    "phrase.missing": "–",
    "phrase.no_figure": "No figure yet: {sentence}",
    "phrase.cut": " … (cut: {length} characters)",
    "tier.S": "decision makers",
    "tier.A": "department heads",
    "tier.B": "key staff",
    "kind.bug": "bugs",
    "kind.request": "feature requests",
    "kind.question": "questions",
    "kind.visit": "visits",
    "kind.call": "calls",
    "kind.training": "trainings",
    "kind.value_report": "value reports",
    "kind.review": "reviews",
    "kind.email": "e-mails",
    "severity.low": "low",
    "severity.medium": "medium",
    "severity.high": "high",
    "survey_kind.nps": "recommendation (NPS)",
    "survey_kind.csat": "satisfaction (CSAT)",
    "dimension.industry": "industry",
    "dimension.region": "region",
    "dimension.channel": "channel",
    "dimension.size_band": "size",
    "dimension.plan": "plan",
    "dimension.cohort": "starting year",
    "level.view": "view",
    "level.analyse": "analyse",
    "level.act": "act",
    "by.us": "us",
    "by.customer": "the customer",
    # the workbook
    "sheet.list": "List",
    "sheet.not_scored": "Not scored",
    "sheet.columns": "About this list",
    "columns.heading": "Heading",
    "columns.column": "Column in the files",
    "columns.meaning": "Meaning",
    "columns.as_of": "Renewal risk as of {as_of}",
    "columns.model": "{target}: model {model}",
    "columns.untold": "No table was given for: {families}. The list does without.",
    "and": ", ",
    "columns.no_model": "{target}: not predicted, for no model of it is in use (the manifest says why)",
    "columns.rows": "{scored} accounts scored, {others} not scored.",
    "columns.more_rows": (
        "This workbook shows {shown} of {all} accounts, in rank order; the Parquet and CSV files hold all."
    ),
    "target.renewal": "Renewal",
    "target.upsell": "Up-sell",
    "target.cross_sell": "Cross-sell",
    "target.expansion": "Expansion",
    "explain.title": "{account} as of {as_of}",
    "explain.reasons": "Towards loss",
    "explain.strengths": "Towards renewal",
    "explain.families": "All contributions by subject (log-odds, negative = towards loss)",
    "explain.features": "All contributions by feature",
    "explain.rows": "Rows of the account in the tables read",
    "explain.feature": "Feature",
    "explain.figure": "Figure",
    "explain.peer": "Peers",
    "explain.contribution": "Contribution",
    "explain.subject": "Subject",
    "explain.table": "Table",
    "explain.count": "Rows",
    "explain.none": "nothing strong enough to name",
    "forecast.title": "Forecast from {as_of}, whole company, existing customers, money in {currency}",
    "forecast.period": "period",
    "forecast.quarter": "{first} to {last}",
    "forecast.trailing_year": "the year {first} to {last}",
    "forecast.opening_arr": "ARR at the opening",
    "forecast.arr_due": "ARR due",
    "forecast.arr_decided": "already renewed",
    "forecast.arr_renewed": "renewed ARR expected",
    "forecast.by_last_year": "at last year's rate",
    "forecast.arr_at_risk": "ARR at risk",
    "forecast.revenue_renewal_rate": "renewal rate by revenue",
    "forecast.gross_retention": "gross retention (GRR)",
    "forecast.net_retention": "net retention (NRR)",
    "forecast.about.opening_arr": (
        "Recurring revenue a year of today's customers on the day before the period; of what is pending, the part "
        "expected to be renewed still."
    ),
    "forecast.about.arr_due": (
        "ARR of the renewals whose last contract ends in the period, with those of follow-ons not yet signed where "
        "terms are short."
    ),
    "forecast.about.arr_decided": "Of the ARR due, what has been bought again already: known, not foretold.",
    "forecast.about.arr_renewed": "ARR due of the contracts bought again, at any price.",
    "forecast.about.arr_at_risk": "ARR due that is not expected to be bought again.",
    "forecast.about.revenue_renewal_rate": "ARR due of the contracts bought again over the ARR due.",
    "forecast.about.gross_retention": (
        "Opening ARR less what its customers churn and contract, over the opening ARR; never above 100 %."
    ),
    "forecast.about.net_retention": (
        "Closing ARR of the customers of the opening, with all they buy and every price rise, over the opening ARR. "
        "New customers are not in it."
    ),
    "forecast.note": (
        "In brackets the range in which the figure comes to lie with {confidence:.0%} probability. Customers who come "
        "later are left out."
    ),
    "forecast.file": "By size band, industry and manager, with definitions: {folder}",
    # why a chance changed
    "change.higher": "{points} points higher",
    "change.higher.one": "{points} point higher",
    "change.lower": "{points} points lower",
    "change.lower.one": "{points} point lower",
    "change.same": "Unchanged",
    "change.of": ": {parts}",
    "change.between": ", ",
    "change.data": "new figures {points:+d}",
    "change.clock": "nearer to the renewal {points:+d}",
    "change.model": "new model {points:+d}",
    "change.figure": ". {sentence}",
    "change.before": "last list: ",
    "change.no_list": "No earlier list to compare with",
    "change.new": "New on the list",
    "change.new_term": "New term: the last list spoke of another renewal",
    "change.not_scored": "Not scored on the last list",
    "change.untold": "{change}; what moved it is not known: {why}",
    "change.why.no_figures": "the figures behind the last list were not kept",
    "change.why.no_model": "the last list's model cannot be loaded any more",
    "change.why.other_features": "the last list's model reads figures that are no longer computed",
    "change.why.other_figures": "the figures that were kept are not those behind the last list",
    # what is other than it was
    "drift.inputs": (
        "{name} ({family}) is spread otherwise than in the year before the model was trained: index {size:.2f}, usual "
        "up to {limit:.2f}; the bin that moved most held {then:.0%} of the accounts and holds {now:.0%}"
    ),
    "drift.missing": (
        "{name} ({family}) is missing for {now:.0%} of the accounts, and was for {then:.0%} in the year before the "
        "model was trained"
    ),
    "drift.score": (
        "the chances of renewal are spread otherwise than in the back-test: index {size:.2f}, usual up to {limit:.2f}; "
        "the bin that moved most held {then:.0%} of the accounts and holds {now:.0%}"
    ),
    "drift.last_list": (
        "the chances of renewal are spread otherwise than on the last list: index {size:.2f}, usual up to {limit:.2f}; "
        "the bin that moved most held {then:.0%} of the accounts and holds {now:.0%}"
    ),
    "drift.calibration": ("of {accounts} renewals due in {name}, earlier lists promised {then:.0%} and {now:.0%} came"),
    # did it help?
    "effect.title": "Did it help? Renewals by playbook, as of {as_of}",
    "effect.any": "any playbook",
    "effect.dash": "–",
    "effect.column.playbook": "Playbook",
    "effect.column.treated": "Treated",
    "effect.column.renewed": "Renewed",
    "effect.column.without": "Without it",
    "effect.column.points": "Effect (points)",
    "effect.column.interval": "{confidence:.0%} interval",
    "effect.column.log_odds": "Effect (log-odds)",
    "effect.column.naive": "Plain difference",
    "effect.column.verdict": "Verdict",
    "effect.verdict.helped": "helped",
    "effect.verdict.hurt": "hurt",
    "effect.verdict.unclear": "not clear",
    "effect.verdict.refused": "no answer",
    "effect.helped": (
        "{playbook}: helped. {renewed:.0%} of {treated} treated accounts renewed; without it about "
        "{without:.0%} would have ({points:+.1f} points, probably between {low:+.1f} and {high:+.1f})."
    ),
    "effect.hurt": (
        "{playbook}: renewals were fewer with it. {renewed:.0%} of {treated} treated accounts renewed; "
        "without it about {without:.0%} would have ({points:+.1f} points, probably between {low:+.1f} and "
        "{high:+.1f})."
    ),
    "effect.unclear": (
        "{playbook}: not clear. {renewed:.0%} of {treated} treated accounts renewed; without it about "
        "{without:.0%} would have ({points:+.1f} points, but anything between {low:+.1f} and {high:+.1f} is "
        "plausible)."
    ),
    "effect.too_few_treated": (
        "{playbook}: no answer. {treated:.0f} treated accounts can be judged so far, and at least "
        "{needed:.0f} are needed."
    ),
    "effect.too_few_outcomes": (
        "{playbook}: no answer. Nearly all ended alike: only {rarer:.0f} ended the rarer way, and at least "
        "{needed:.0f} are needed among the treated and among the others."
    ),
    "effect.too_few_alike": (
        "{playbook}: no answer. Only {share:.0%} of the treated accounts have untreated ones like them, and "
        "at least {needed:.0%} must: whoever looked so was always treated."
    ),
    "effect.too_little_to_compare": (
        "{playbook}: no answer. The untreated accounts that look like the treated are worth only {rows:.0f} "
        "accounts, and at least {needed:.0f} are needed."
    ),
    "effect.headline": (
        "The effect is the share of the treated accounts that renewed, less the share that would have without"
        " the intervention: estimated from untreated accounts that looked alike on the same kind of day."
    ),
    "effect.plain": "The plain difference ignores who was treated; accounts are treated because they look at risk.",
    "effect.unseen": (
        "What a manager saw and no table shows is not accounted for. Each playbook has an interval of its "
        "own: of ten, about one misses the truth."
    ),
    # the back-test
    "backtest.title": "Back-test until {until}",
    "backtest.about": (
        "What would have been said on past days, by models that knew no later day, and what it was worth. The "
        "model is held against simple ways to a probability on the same rows. Renewals already signed are left "
        "out."
    ),
    "backtest.intervals": (
        "In brackets: where the figure lies when accounts are drawn anew. A verdict is given where the interval "
        "of the gain in log loss lies wholly on one side of nought. Each interval stands for itself: of ten, "
        "about one misses."
    ),
    "backtest.at_lead": "{target}, {days} days before the renewal ({terms} renewals)",
    "backtest.at_all": "{target}, all observations ({terms} terms)",
    "backtest.untrained": "{target}: no model could be trained: {reason}",
    "backtest.file": "The whole report: {page}",
    "backtest.counted": (
        "{rows} rows of {accounts} accounts, of which {seen} came out yes. {origins} training days from {first} "
        "to {last}. Left out: {decided} rows whose renewal was already signed, {treated} rows of renewals that "
        "an intervention had a hand in."
    ),
    "backtest.than.better": "Better than “{baseline}” beyond doubt: gain in log loss {value} ({low} … {high}).",
    "backtest.than.alike": "Not told apart from “{baseline}”: gain in log loss {value} ({low} … {high}).",
    "backtest.than.worse": "Worse than “{baseline}” beyond doubt: gain in log loss {value} ({low} … {high}).",
    "backtest.verdict.better": "better",
    "backtest.verdict.alike": "not told apart",
    "backtest.verdict.worse": "worse",
    "backtest.model": "model",
    "backtest.base_rate": "base rate",
    "backtest.last_outcome": "last outcome",
    "backtest.days_since_last_use": "days since last use",
    "backtest.few_features": "six features",
    "backtest.logistic_regression": "logistic regression on all",
    "backtest.health_score": "health score by hand",
    "backtest.linear": "linear part alone",
    "backtest.true": "what is true",
    "backtest.active": "active (used within 90 days)",
    "backtest.silent": "silent (not used for over 90 days)",
    "backtest.auc_of": "AUC: {speaker}",
    "backtest.older": "{month} and above",
    "backtest.section.whole": "The model beside the baselines",
    "backtest.section.calibration": "What was promised and what came",
    "backtest.section.leads": "By days to the renewal",
    "backtest.section.capacity": "What a manager would have found",
    "backtest.section.profit": "Expected profit",
    "backtest.section.activity": "Accounts still active, and accounts already silent",
    "backtest.section.segments": "By segment",
    "backtest.section.quarters": "By quarter",
    "backtest.section.staleness": "How models age",
    "backtest.section.abstention": "Leaving out the strangest accounts",
    "backtest.segments": "Segments with enough outcomes to judge.",
    "backtest.capacity": (
        "{lists} monthly lists, ranked by ARR times the chance of loss and cut at each manager's capacity. Of "
        "{lost} {currency} of ARR on them that was lost (an account counts on every list it stands on), the "
        "share that stood above the cut; beside it the share of all ARR above the cut, which is what chance "
        "alone would find."
    ),
    "backtest.capacity.all_fit": (
        "{lists} monthly lists, ranked by ARR times the chance of loss. All fit within their managers' capacity "
        "(list.capacity), so only the order is told: of {lost} {currency} of ARR on them that was lost (an account "
        "counts on every list it stands on), the share in the first fifth of its manager's list."
    ),
    "backtest.profit": (
        "EMPB: what each order would bring per account at its best cut, if whoever stands above it is contacted "
        "({contact} {currency}) and offered {offer} of the ARR, and {accepted} of those about to leave accept. "
        "The cut is chosen in hindsight: this compares orders, and promises no money."
    ),
    "backtest.profit.no_arr": "Not measured: the rows tell no ARR.",
    "backtest.coverage": (
        "In {held} of the tenths the share seen lies within the mean {confidence} interval of their accounts. An "
        "interval is for an account's own chance, which one outcome does not show: this finds intervals in the "
        "wrong place, not those that are too wide."
    ),
    "backtest.staleness": (
        "Every row is also spoken of by older models. Each month of age is compared with the youngest model "
        "there was on the same rows; a gain below nought is what age costs. A model is in month 1 on the day it "
        "was trained."
    ),
    "backtest.abstention": (
        "Strangeness is the share of an account's figures that lie outside what training rows usually showed. "
        "Log loss falls to the left if the strange are the ones misjudged."
    ),
    "backtest.column.speaker": "Speaker",
    "backtest.column.auc": "AUC",
    "backtest.column.log_loss": "Log loss",
    "backtest.column.average_precision": "Average precision",
    "backtest.column.brier": "Brier",
    "backtest.column.slope": "Calibration slope",
    "backtest.column.intercept": "Calibration intercept",
    "backtest.column.error": "Calibration error",
    "backtest.column.error_by_chance": "… by chance alone",
    "backtest.column.lift_top_tenth": "Lift, top tenth",
    "backtest.column.gain": "Gain in log loss",
    "backtest.column.verdict": "Verdict",
    "backtest.column.terms": "Terms",
    "backtest.column.rows": "Rows",
    "backtest.column.seen": "Seen",
    "backtest.column.promised": "Promised",
    "backtest.column.better": "Better than",
    "backtest.column.alike": "Not told apart from",
    "backtest.column.worse": "Worse than",
    "backtest.column.lead_days": "Days before the renewal",
    "backtest.column.activity": "Accounts",
    "backtest.column.segment": "Segment",
    "backtest.column.quarter": "Quarter",
    "backtest.column.recall": "Lost ARR found",
    "backtest.column.listed": "Share of all ARR above the cut",
    "backtest.column.recall_early": "Lost ARR found in the first fifth of each list",
    "backtest.column.csm": "Manager",
    "backtest.column.lost_arr": "ARR lost",
    "backtest.column.accounts_listed": "Share of accounts above the cut",
    "backtest.column.profit": "Profit per account",
    "backtest.column.low": "Low end",
    "backtest.column.high": "High end",
    "backtest.column.held": "Within",
    "backtest.column.month": "Month of age",
    "backtest.column.models": "Models",
    "backtest.column.newest_auc": "AUC of the youngest",
    "backtest.column.newest_log_loss": "Log loss of the youngest",
    "backtest.column.newest_month": "Its mean month",
    "backtest.column.kept": "Rows kept",
    "backtest.column.strangeness": "Strangeness up to",
    # the search of settings
    "tune.refused": "{target}: no search: {reason}",
    "tune.tried": (
        "{target}: {trials} settings tried on what models before {day} would have said, {early} of them stopped "
        "early. Log loss {found:.4f} at best, {in_force:.4f} with the settings in force."
    ),
    "tune.same": "Nothing was found that is better than the settings in force: keep them.",
    "tune.better": (
        "On {terms} later terms, which no trial saw, what was found is better beyond doubt: log loss lower by "
        "{value:.4f} ({low:.4f} … {high:.4f})."
    ),
    "tune.alike": (
        "On {terms} later terms, which no trial saw, it is not told apart from the settings in force: log loss "
        "lower by {value:.4f} ({low:.4f} … {high:.4f}). Nothing speaks for a change."
    ),
    "tune.worse": (
        "On {terms} later terms, which no trial saw, it is worse beyond doubt: log loss lower by {value:.4f} "
        "({low:.4f} … {high:.4f}). Keep the settings in force."
    ),
    "tune.too_few": (
        "Whether it is better later, nobody can tell: {terms} terms were held out, with {events:.0f} of the rarer "
        "outcome. Nothing speaks for a change."
    ),
    "tune.take_over": (
        "What was found: renewals learn --until {until} {settings} (or in params.yaml, where it holds for every target)"
    ),
}
