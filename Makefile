PYTHON ?= python

.PHONY: format lint house test doc check

format:
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

house:
	lint-imports
	$(PYTHON) .ci/house.py

test:
	$(PYTHON) -m pytest

doc:
	$(PYTHON) -m pytest tests/test_doctests.py

check: lint house test
