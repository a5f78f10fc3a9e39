"""What GitHub reads: a workflow that does what .ci/run does, and forms that ask for what a maintainer needs.

GitHub's schema of issue forms, as its documentation has it, is transcribed below.
"""

import pathlib
import re

import pytest
import yaml

ROOT = pathlib.Path(__file__).parent.parent
GITHUB = ROOT / ".github"
FORMS = [p for p in sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")) if p.name != "config.yml"]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")

# type of an element -> (attributes that it must have, attributes that it may have)
ELEMENTS = {
  "markdown": ({"value"}, set()),
  "textarea": ({"label"}, {"description", "placeholder", "value", "render"}),
  "input": ({"label"}, {"description", "placeholder", "value"}),
  "dropdown": ({"label", "options"}, {"description", "multiple", "default"}),
  "checkboxes": ({"label", "options"}, {"description"}),
}

pytestmark = pytest.mark.fast


def read(path):
  return yaml.safe_load(path.read_text("utf-8"))


@pytest.fixture(scope="module")
def jobs():
  return read(GITHUB / "workflows" / "ci.yml")["jobs"]


def commands(job):
  return [step["run"] for step in job["steps"] if "run" in step]


def test_the_workflow_runs_ci_on_the_oldest_and_the_newest_python(jobs):
  job = jobs["test"]
  (command,) = [command for command in commands(job) if ".ci/run" in command]
  assert command.split()[-1] == ".ci/run"
  assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
  pythons = {row["python"]: row["constraints"] for row in job["strategy"]["matrix"]["include"]}
  assert pythons == {"3.11": "constraints.txt", "3.13": "constraints-newest.txt"}
  assert all((ROOT / name).is_file() for name in pythons.values())
  (step,) = [step for step in job["steps"] if ".ci/run" in step.get("run", "")]
  assert step["env"]["CONSTRAINTS"] == "${{ matrix.constraints }}"
  assert "--preserve-env=CONSTRAINTS" in command and "CONSTRAINTS ?=" in MAKEFILE


def test_its_make_targets_are_there(jobs):
  targets = set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split())
  named = {
    target
    for job in jobs.values()
    for command in commands(job)
    for target in re.findall(r"\bmake (\w+)", command)
  }
  assert named == {"dist", "site"}
  assert named <= targets


def test_every_job_has_a_limit_a_cache_and_few_rights(jobs):
  workflow = read(GITHUB / "workflows" / "ci.yml")
  assert workflow["permissions"] == {"contents": "read"}
  assert workflow["concurrency"]["cancel-in-progress"] is True
  for job in jobs.values():
    assert 0 < job["timeout-minutes"] <= 180
    uses = {
      step["uses"].partition("@")[0]: step.get("with", {})
      for step in job["steps"]
      if "uses" in step
    }
    assert uses["actions/setup-python"]["cache"] == "pip"
    assert uses["actions/checkout"]["persist-credentials"] is False


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_is_of_github_s_schema(path):
  form = read(path)
  assert {"name", "description", "body"} <= form.keys() <= {
    "name", "description", "body", "title", "labels", "assignees", "projects", "type"
  }  # fmt: skip
  assert any(element["type"] != "markdown" for element in form["body"])
  ids = [element["id"] for element in form["body"] if "id" in element]
  labels = [e["attributes"]["label"] for e in form["body"] if "label" in e["attributes"]]
  assert len(set(ids)) == len(ids) and len(set(labels)) == len(labels)
  for element in form["body"]:
    assert element.keys() <= {"type", "id", "attributes", "validations"}
    must, may = ELEMENTS[element["type"]]
    assert must <= element["attributes"].keys() <= must | may
    assert re.fullmatch(r"[A-Za-z0-9_-]+", element.get("id", "none"))
    validations = element.get("validations", {})
    assert validations.keys() <= {"required"} and all(v is True for v in validations.values())
    if element["type"] == "dropdown":
      assert all(isinstance(option, str) for option in element["attributes"]["options"])
    if element["type"] == "checkboxes":
      assert all(o.keys() <= {"label", "required"} for o in element["attributes"]["options"])


def test_there_are_three_forms_and_no_blank_issue():
  assert [path.stem for path in FORMS] == ["bug", "question", "reproduction"]
  assert read(GITHUB / "ISSUE_TEMPLATE" / "config.yml") == {"blank_issues_enabled": False}


@pytest.mark.parametrize(
  "form, needed",
  [
    ("bug", {"command", "happened", "expected", "versions", "device"}),
    ("reproduction", {"experiment", "command", "numbers", "config", "versions", "device"}),
  ],
  ids=["bug", "reproduction"],
)
def test_a_form_asks_for_what_a_maintainer_needs(form, needed):
  body = read(GITHUB / "ISSUE_TEMPLATE" / f"{form}.yml")["body"]
  required = {e["id"] for e in body if e.get("validations", {}).get("required")}
  assert required == needed
  assert "config" in {element.get("id") for element in body}
  (versions,) = [e for e in body if e.get("id") == "versions"]
  for package in ("qnn_jax", "jax", "flax"):
    assert f"{package}.__version__" in versions["attributes"]["description"]
