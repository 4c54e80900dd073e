"""What "auto" may change: nothing but speed. Streams of batches."""

import comparison
import pytest


@pytest.mark.filterwarnings("ignore:Limiting:UserWarning")
@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
@pytest.mark.parametrize("case", comparison.parameters(*comparison.STREAMS))
def test_auto_changes_nothing(case, tmp_path, monkeypatch):
    comparison.check(case, tmp_path, monkeypatch)
