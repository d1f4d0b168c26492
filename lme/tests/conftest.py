"""What the tests need where pyproject.toml is out of reach.

``pytest --pyargs lme`` runs the tests of an installed package from any folder; marks
and the default choice of tests come from here then.
"""

# Programs that made the references: they need R or files outside the package.
collect_ignore = ["reference"]


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than about three seconds")
    if not config.option.markexpr and "-m" not in config.invocation_params.args:
        config.option.markexpr = "not slow"
