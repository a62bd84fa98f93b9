"""Compares texts with the files under ``golden``; CKPTREE_WRITE_GOLDEN=1 writes them anew."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    def check(name: str, text: str) -> None:
        file = GOLDEN / name
        if os.environ.get("CKPTREE_WRITE_GOLDEN") == "1":
            file.write_text(text, encoding="utf-8")
        hint = "look at the difference, then rewrite with CKPTREE_WRITE_GOLDEN=1"
        assert file.exists(), f"{file} is missing: {hint}"
        assert text == file.read_text(encoding="utf-8"), hint

    return check
