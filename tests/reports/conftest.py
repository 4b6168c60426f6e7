import pandas as pd
import pytest

from tests.reports.small_list import make_list, observations


@pytest.fixture
def listed() -> pd.DataFrame:
    """A list with every kind of row: scored accounts of two managers, and one account without a score."""
    rows = observations()
    rows.loc[4, "status"] = "too_little_history"
    return make_list(rows, expansion=[0.5, 0.1, 0.3, 0.0, 0.9, 0.2])
