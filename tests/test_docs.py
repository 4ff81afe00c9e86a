from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROTOCOL = ROOT / "docs" / "protocol"

PAGES = {path.name: path for path in PROTOCOL.glob("*.md") if path.name != "README.md"}
SAMPLES = {
    "navilink.md": ROOT / "tests" / "samples" / "navilink",
    "mysa.md": ROOT / "tests" / "samples" / "mysa",
    "home-assistant.md": ROOT / "tests" / "samples" / "home-assistant",
}
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docker/*.md"), *ROOT.glob("docs/**/*.md")])
SOURCES = sorted(ROOT.glob("navibridge/**/*.py"))

TEXTS = sorted(
    path
    for pattern in (
        "*.md",
        "*.toml",
        "*.yaml.example",
        "LICENSE",
        "Makefile",
        ".editorconfig",
        ".gitignore",
        ".pre-commit-config.yaml",
        ".ci/*",
        "docker/*",
        "docs/**/*",
        "navibridge/**/*",
        "tests/**/*",
    )
    for path in ROOT.glob(pattern)
    if path.is_file() and "__pycache__" not in path.parts
)

# Names and places that a reader of the repository does not have. The bracketed letters keep this file from finding
# itself.
FORBIDDEN = (
    r"\.\./share[d]",
    r"\bshare[d]/(?:protocol|captures)",
    r"(?<![\w.:])/wor[k]/",
    r"\b[Ss]ee[d] (?:document|text|description|naming|says)",
    r"pyp[i]\.org",
    r"pythonhoste[d]\.org",
    r"npmj[s]\.(?:org|com)",
)

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`[^`\n]*`")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
SECTION = re.compile(r"^#{2,} (\d+(?:\.\d+)*)\.? ", re.MULTILINE)
SAMPLE = re.compile(r"tests/samples/[\w./*-]*[\w*/]")
BARE_SAMPLE = re.compile(r"`([a-z][\w*-]*(?:\.expected)?\.(?:json|txt))`")
FILE = re.compile(r"`((?:navibridge|tests|docs|docker)/[\w./-]+(?:\.(?:py|md|yaml|json|jsonl|conf|toml)|/))`")
CITATION = re.compile(
    r"\b(?P<page>[a-z-]+\.md)`?[,:]? (?:§|sections? )?(?P<sections>\d+(?:\.\d+)*(?:(?:, | and )\d+(?:\.\d+)*)*)"
)
CITED_PATH = re.compile(r"docs/protocol/([\w.-]+)\b")


def prose(text: str) -> str:
    """A page without its code, in which brackets mean something else."""
    return INLINE.sub("", FENCED.sub("", text))


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    plain = (re.sub(r"[`*]", "", heading) for heading in HEADING.findall(text))
    return {re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-") for heading in plain}


def cited(text: str) -> list[tuple[str, str]]:
    """Every (page, section) that a source file cites; line breaks and comment signs inside a citation do not matter."""
    joined = re.sub(r"\s+(?:#\s+)?", " ", text)
    return [
        (match["page"], section)
        for match in CITATION.finditer(joined)
        if match["page"] in PAGES
        for section in re.split(r", | and ", match["sections"])
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_somewhere(document: Path) -> None:
    broken = []
    for target in LINK.findall(prose(document.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (document.parent / name).resolve() if name else document
        if not there.exists() or (anchor and anchor not in anchors(there.read_text())):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_files_exist(document: Path) -> None:
    text = document.read_text()
    names = {*SAMPLE.findall(text), *FILE.findall(text)}
    assert [name for name in sorted(names) if not any(ROOT.glob(name))] == []


@pytest.mark.parametrize("page", sorted(SAMPLES))
def test_samples_named_by_a_page_lie_in_its_folder(page: str) -> None:
    names = set(BARE_SAMPLE.findall(PAGES[page].read_text()))
    assert names
    assert [name for name in sorted(names) if not any(SAMPLES[page].glob(name))] == []


@pytest.mark.parametrize("page", sorted(SAMPLES))
def test_every_sample_is_named_by_its_page(page: str) -> None:
    # A page may leave a suffix away (`out_status_v1_msgtype0`), give it once for two files, or use a pattern.
    stems = {
        stem.removesuffix(".json").removesuffix(".txt") for stem in re.findall(r"`([\w.*-]+)`", PAGES[page].read_text())
    }
    ends = {stem.lstrip("…") for stem in re.findall(r"`([…_][\w.]+)`", PAGES[page].read_text())}
    ends = {end.removesuffix(".json") for end in ends}
    unnamed = [
        sample.name
        for sample in sorted(SAMPLES[page].iterdir())
        if not any(fnmatch(sample.stem, stem) for stem in stems)
        and not any(end and sample.stem.endswith(end) for end in ends)
    ]
    assert unnamed == []


def test_citations_in_the_code_name_a_page_and_a_section_that_exist() -> None:
    sections = {name: set(SECTION.findall(path.read_text())) for name, path in PAGES.items()}
    wrong = []
    for source in SOURCES:
        text = source.read_text()
        wrong += [f"{source.name}: {page} {section}" for page, section in cited(text) if section not in sections[page]]
        wrong += [
            f"{source.name}: docs/protocol/{name}"
            for name in CITED_PATH.findall(text)
            if not (PROTOCOL / name).exists()
        ]
    assert wrong == []


def test_a_citation_is_found_however_it_is_written() -> None:
    text = '''
    """Signed as `docs/protocol/navilink.md` 2.1 and 2.2 say, retried as in
    `docs/protocol/navilink.md`
    11.5. See mysa.md section 5.4."""
    x = 1  # docs/protocol/home-assistant.md
    # 6.3, 7
    '''
    assert cited(text) == [
        ("navilink.md", "2.1"),
        ("navilink.md", "2.2"),
        ("navilink.md", "11.5"),
        ("mysa.md", "5.4"),
        ("home-assistant.md", "6.3"),
        ("home-assistant.md", "7"),
    ]


def test_no_text_mentions_what_its_readers_do_not_have() -> None:
    found = []
    for path in TEXTS:
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue  # a binary sample
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for word in FORBIDDEN for match in re.finditer(word, text)]
    assert found == []
