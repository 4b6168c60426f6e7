"""One module per alert: a rule that reports a fact about an account, independently of every model.

A module holds a function of its own name, which is the alert's code. The parameters of the function name the tables it
reads; a parameter with a default may be missing. It returns one row per (account_id, as_of) with an alert, with the
columns `EVIDENCE_TYPES` of `features/alert.py`. The texts of the code are in `reports/words/`.
"""

ORDER = (
    "usage_drop",
    "sponsor_lost",
    "sponsor_silent",
    "first_value_missed",
    "sla_breach",
    "low_score_not_followed_up",
)
"""The order of the codes in the data contract and on the list; an alert that is not named here follows, by name."""
