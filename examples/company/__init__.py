"""A simulated company whose truth is known: a seller of business software by subscription.

Its customers have hidden states (what their deciders think, adoption, support pain, fit, first value,
loss of a sponsor). Each shows itself, noisily, in tables of its own, and together they decide about
every renewal some two months before the end of the term. `simulate_company` draws the company, `write_company` puts it
down as the tables of the data contract, with the truth aside.

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
