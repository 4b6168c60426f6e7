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
# # The reasons of one account
#
# The list gives the reasons as sentences; here the same contributions are plotted with shap, next to the sentences.
# Run `make demo` first, or set `RENEWALS_DATA` and `RENEWALS_LIST`.

# %%
import json
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import shap

from renewals.models.training.ensemble import EnsembleModel
from renewals.pipelines.storage.registry import model_registry
from renewals.pipelines.runtime.settings import read_settings
from renewals.pipelines.runtime.job import Job

data = Path(os.environ.get("RENEWALS_DATA", "../demo"))
folder = Path(os.environ.get("RENEWALS_LIST", "../lists/2026-06-01"))
listed = pd.read_parquet(folder / "risk_list.parquet")
account = listed[listed["status"] == "scored"].sort_values("renewal_probability").iloc[0]
account[["account_id", "account_name", "renewal_date", "arr", "renewal_probability", "risk_band"]]

# %% [markdown]
# ## Sentences of the list

# %%
[account[f"reason_{k}"] for k in range(1, 6) if account[f"reason_{k}"]]

# %%
[account[f"strength_{k}"] for k in range(1, 4) if account[f"strength_{k}"]]

# %% [markdown]
# ## The same contributions as a plot
#
# SHAP explains the margin, the log-odds before calibration. The model's margin is a weighted mean of a linear part and
# of trees; the contributions of both add up, so one plot shows the total. The model is the one that made the list.

# %%
job = Job(read_settings(None), "", data, folder.parent)
version = json.loads((folder / "manifest.json").read_bytes())["models"]["renewal"]["version"]
model = EnsembleModel.from_files(model_registry.fetch_version(job, "renewal", version))
scoring = pd.read_parquet(data / "act" / "scoring.parquet")
row = scoring[scoring["account_id"] == account["account_id"]]
contributions, base = model.contributions(row)
explanation = shap.Explanation(
    values=contributions.iloc[0].to_numpy(),
    base_values=base,
    data=row[list(model.schema.names)].iloc[0].to_numpy(),
    feature_names=list(model.schema.names),
)
shap.plots.waterfall(explanation, max_display=12, show=False)
plt.gcf().set_size_inches(9, 6)
plt.tight_layout()

# %% [markdown]
# Base and contributions add up to the margin, except for rounding; the largest difference:

# %%
float(np.abs(base + contributions.sum(axis=1).to_numpy() - model.margin(row)).max())

# %% [markdown]
# ## The trees alone, explained by shap
#
# shap's TreeExplainer gives the trees the same contributions as LightGBM and as the list; the largest difference:

# %%
values = model.schema.values(row)
by_shap = shap.TreeExplainer(model.booster).shap_values(values)
by_lightgbm = model.booster.predict(values, pred_contrib=True)[:, :-1]
float(np.abs(np.asarray(by_shap) - by_lightgbm).max())
