"""Realistic text that is at hand on every machine: paragraphs of this Python's own documentation."""

import ast
import re
import sysconfig
from collections import Counter
from pathlib import Path
from typing import Final

SHORTEST: Final = 80
LONGEST: Final = 900
ENOUGH: Final = 8000
_LONG_WORD: Final = re.compile(r"\b[a-z]{9,}\b")


def documentation_paragraphs() -> list[str]:
    """Paragraphs of the docstrings of the standard library, always the same for one version of Python."""
    found: list[str] = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("**/*.py")):
        if "site-packages" in path.parts or "test" in path.parts:
            continue
        found += _paragraphs(path)
        if len(found) >= ENOUGH:
            break
    return found


def rare_word(paragraphs: list[str]) -> str:
    """A word that stands in one paragraph only: the one in the middle of all such words, so that it is a real one."""
    counts = Counter(word for text in paragraphs for word in set(_LONG_WORD.findall(text.lower())))
    once: list[str] = sorted(word for word, count in counts.items() if count == 1)
    return once[len(once) // 2]


def _paragraphs(path: Path) -> list[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return []
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)]
    parts = [part.strip() for text in texts for part in text.split("\n\n")]
    return [part for part in parts if SHORTEST <= len(part) <= LONGEST]
