"""Packages of extras, which only some graders and commands need."""

from importlib.util import find_spec

from tuneworthy.errors import MissingPackage

_DATA = 'Run `pip install "tuneworthy[data]"`.'
MISSING = {
    "numba": MissingPackage(
        "The check `near` needs numba, which is not installed.",
        hint='Run `pip install "tuneworthy[data]"`, or set `off = ["near"]` in [data].',
    ),
    "pandas": MissingPackage("A DataFrame needs pandas, which is not installed.", hint=_DATA),
    "pyarrow": MissingPackage("Reading Parquet files needs pyarrow, which is not installed.", hint=_DATA),
    "python_calamine": MissingPackage("Reading Excel files needs python-calamine, which is not installed.", hint=_DATA),
    "starlette": MissingPackage(
        "`ui` needs starlette, which is not installed.", hint='Run `pip install "tuneworthy[ui]"`.'
    ),
    "uvicorn": MissingPackage(
        "`shadow proxy` and `ui` need uvicorn, which is not installed.",
        hint='Run `pip install "tuneworthy[proxy]"` for `shadow proxy`, or `pip install "tuneworthy[ui]"` for `ui`.',
    ),
    **{
        package: MissingPackage(
            f"The package {package} is not installed.", hint='Run `pip install "tuneworthy[train]"`.'
        )
        for package in ("bitsandbytes", "gguf", "peft", "torch", "transformers", "trl")
    },
    "xllamacpp": MissingPackage(
        "The package xllamacpp is not installed.", hint='Run `pip install "tuneworthy[local]"`.'
    ),
    **{
        package: MissingPackage(
            f"The source `{package}:` needs {name}, which is not installed.",
            hint=f'Run `pip install "tuneworthy[{package}]"`.',
        )
        for package, name in (("langfuse", "langfuse"), ("mlflow", "mlflow-tracing"))
    },
    "mcp": MissingPackage(
        "An MCP server needs the package mcp, which is not installed.", hint='Run `pip install "tuneworthy[tools]"`.'
    ),
    "ray": MissingPackage(
        "`--engine ray` needs ray, which is not installed.", hint='Run `pip install "tuneworthy[ray]"`.'
    ),
    "sacrebleu": MissingPackage(
        "The grader `chrf` needs sacrebleu, which is not installed.", hint='Run `pip install "tuneworthy[chrf]"`.'
    ),
}


def require(package: str) -> None:
    """Check that an optional package, a key of `MISSING`, is installed.

    Raises:
        MissingPackage: It is not installed.
    """
    if find_spec(package) is None:
        raise MissingPackage(MISSING[package].message, hint=MISSING[package].hint)
