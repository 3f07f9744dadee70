"""The built-in data checks: pure functions of rows, and the class behind `@check` that uses them."""
