"""Simulate a company that sells business software by subscription, with a known truth.

Its customers have hidden states: their deciders' opinion, adoption, support pain, fit, first value, loss of a
sponsor. Each state leaves noisy traces in its own tables. Together the states determine the decision on every
renewal, some two months before the end of the term. `simulate_company` draws the company; `write_company` writes
it as the tables of the data contract, with the truth in a separate folder.

    python -m renewals.examples.company --accounts 2000 --out company
"""

from renewals.examples.company.folder import ForeignFolderError, refuse_foreign_folder, write_company
from renewals.examples.company.product import CORE_WORKFLOW, LEVELS, NORTH_STAR
from renewals.examples.company.simulation import SEED, START, Company, simulate_company

__all__ = [
    "CORE_WORKFLOW",
    "LEVELS",
    "NORTH_STAR",
    "SEED",
    "START",
    "Company",
    "ForeignFolderError",
    "refuse_foreign_folder",
    "simulate_company",
    "write_company",
]
