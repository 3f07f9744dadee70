"""Renders prompt templates in the limited child; see `templates`."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

# Of a prompt, characters.
MAX_CHARS = 2**25


def variables_of(source: str) -> dict[str, Any]:
    from jinja2 import meta

    def variables(template: Any) -> list[str]:
        environment = template.environment
        return sorted(meta.find_undeclared_variables(environment.parse(source)) - environment.globals.keys())

    return _faults(variables, source)


def fill(source: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    answer = _faults(lambda template: template.render(variables), source)
    if len(answer.get("value", "")) > MAX_CHARS:
        return {"fault": f"its result has more than {MAX_CHARS} characters"}
    return answer


def _faults(use: Callable[[Any], Any], source: str) -> dict[str, Any]:
    from jinja2 import TemplateError, TemplateSyntaxError

    try:
        return {"value": use(_template(source))}
    except MemoryError:
        raise
    except TemplateSyntaxError as error:
        return {"fault": error.message, "line": error.lineno}
    except TemplateError as error:
        return {"fault": str(error)[:500]}
    except Exception as error:  # whatever a template makes Python raise: 1/0, input + 1, endless recursion
        return {"fault": f"{type(error).__name__}: {error}"[:500]}


@lru_cache(maxsize=256)
def _template(source: str) -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=False).from_string(source)
