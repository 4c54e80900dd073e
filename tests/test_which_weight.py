"""The document on weights: its code runs, and gives the numbers of its first table."""

import pathlib
import re

PATH = pathlib.Path(__file__).parent.parent / "docs" / "which_weight.md"
TEXT = PATH.read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
ROWS = re.findall(r"^\| ([^|]+) \| ([.\d]+) \| ([.\d]+) \|$", TEXT, re.MULTILINE)


def test_the_code_gives_the_weights_of_the_table(capsys):
    code = re.sub(r"\bepochs=\d+", "epochs=1", "\n".join(BLOCKS))
    names = {}
    exec(compile(code, str(PATH), "exec"), names)
    printed = capsys.readouterr().out
    assert len(ROWS) == len(names["weights"]) == 4
    for name, beta, sigma in ROWS:
        weight = names["weights"][name]
        assert round(weight.to("normal").beta, 2) == float(beta)
        assert round(weight.sigma, 2) == float(sigma)
        assert name in printed
    assert printed.count("-ELBO") == 4
