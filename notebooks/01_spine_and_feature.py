# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Look at the spine, and at one feature
#
# The spine says who is observed when: one row per account and date, with a renewal in sight. Everything else hangs on it.
# Run `make demo` first, or set `RENEWALS_DATA` to the folder that `renewals learn --data` wrote.

# %%
import json
import os
from pathlib import Path

import pandas as pd

data = Path(os.environ.get("RENEWALS_DATA", "../demo"))
spine = pd.read_parquet(data / "learn" / "spine.parquet")
spine.head()

# %% [markdown]
# ## How many accounts are in sight, and in which stage?

# %%
spine.groupby(["as_of", "stage"]).size().unstack(fill_value=0).tail(12)

# %% [markdown]
# ## What became of them
#
# `renewal` is 1 or 0 where the outcome was final on the training day, and empty where it is not: pending, or still running.

# %%
training = pd.read_parquet(data / "learn" / "training.parquet")
outcomes = training.assign(outcome=training["renewal"].map({1: "renewed", 0: "lost"}).fillna("open"))
outcomes.groupby(["as_of", "outcome"]).size().unstack(fill_value=0).tail(12)

# %% [markdown]
# ## One feature: who it is about, and what it is worth
#
# People with a north-star action in the last 28 days, about 90 days before the end. The columns are named after the
# function and its window; `learn/features.json` holds the meaning and the sentences of each.

# %%
name = "active_people_28d"
listed = json.loads((data / "learn" / "features.json").read_text(encoding="utf-8"))["features"]
meanings = pd.DataFrame(listed).set_index("name")
meanings.loc[name, ["meaning", "unit", "risk", "en", "zh"]]

# %%
ahead = training[training["renewal"].notna() & training["days_to_renewal"].between(75, 105)]
bands = pd.qcut(ahead[name], 5, duplicates="drop")
ahead.groupby(bands, observed=True)["renewal"].agg(["size", "mean"]).rename(columns={"size": "renewals", "mean": "renewed"})

# %% [markdown]
# A feature that parts renewed from lost this neatly on its own, above an AUC of 0.90, is a leak until proven otherwise.

# %%
from sklearn.metrics import roc_auc_score

known = ahead[ahead[name].notna()]
round(roc_auc_score(known["renewal"], known[name]), 3)
