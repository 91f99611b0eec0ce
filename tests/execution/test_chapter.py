"""docs/execution.md shows what is emitted."""

import ast
import re
from pathlib import Path
from typing import Any

CHAPTER = Path(__file__).parents[2] / "docs" / "execution.md"


def test_the_example_of_the_chapter_is_what_is_emitted() -> None:
    example, shown = re.findall(r"```python\n(.*?)```", CHAPTER.read_text(encoding="utf-8"), re.DOTALL)
    found: dict[str, Any] = {}
    exec(example, found)  # noqa: S102

    assert ast.dump(ast.parse(found["operation"].source)) == ast.dump(ast.parse(shown))
