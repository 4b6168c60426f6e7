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
# # The spine, and one feature
#
# The spine is the table of observations: one row per account and date, with a renewal ahead.
# Features and labels are computed for these rows.
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
# ## Number of observed accounts, by stage

# %%
spine.groupby(["as_of", "stage"]).size().unstack(fill_value=0).tail(12)

# %% [markdown]
# ## Outcomes
#
# `renewal` is 1 or 0 if the outcome was final on the training day, else empty: the renewal is pending or not yet due.

# %%
training = pd.read_parquet(data / "learn" / "training.parquet")
outcomes = training.assign(outcome=training["renewal"].map({1: "renewed", 0: "lost"}).fillna("open"))
outcomes.groupby(["as_of", "outcome"]).size().unstack(fill_value=0).tail(12)

# %% [markdown]
# ## One feature: its meaning, and its relation to the outcome
#
# People with a north-star action in the last 28 days, about 90 days before the end of the term. A column has the name of
# its function and its window; `learn/features.json` contains the meaning and the sentences of each.

# %%
name = "active_people_28d"
features = json.loads((data / "learn" / "features.json").read_text(encoding="utf-8"))["features"]
meanings = pd.DataFrame(features).set_index("name")
meanings.loc[name, ["meaning", "unit", "risk", "en", "zh"]]

# %%
ahead = training[training["renewal"].notna() & training["days_to_renewal"].between(75, 105)]
bands = pd.qcut(ahead[name], 5, duplicates="drop")
ahead.groupby(bands, observed=True)["renewal"].agg(["size", "mean"]).rename(columns={"size": "renewals", "mean": "renewed"})

# %% [markdown]
# A single feature with an AUC above 0.90 is treated as a leak until the opposite is proved.

# %%
from sklearn.metrics import roc_auc_score

known = ahead[ahead[name].notna()]
round(roc_auc_score(known["renewal"], known[name]), 3)
