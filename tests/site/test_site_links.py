"""Every link of the built site leads somewhere, and no page loads anything from elsewhere."""

import re

import pytest
from site_pages import pages, target

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def built(site):
  return pages(site)


def test_every_link_and_anchor_is_there(site, built):
  checked, wrong = 0, []
  for name, page in built.items():
    for link in page.links:
      if (found := target(name, link)) is None:
        continue
      path, anchor = found
      checked += 1
      if not (site / path).is_file() or (
        anchor and path in built and anchor not in built[path].anchors
      ):
        wrong.append(f"{name}: {link}")
  assert not wrong
  assert checked > 1000


def test_nothing_is_loaded_from_elsewhere(site, built):
  for name, page in built.items():
    for link in page.loads:
      found = target(name, link)
      assert link.startswith("data:") or (found and (site / found[0]).is_file()), f"{name}: {link}"
  for path in site.rglob("*.css"):
    assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", path.read_text("utf-8")), path


def test_no_script_of_mathjax_names_another_host(site):
  scripts = [*(site / "_static" / "mathjax").rglob("*.js")]
  assert len(scripts) >= 5
  for path in scripts:
    hosts = re.findall(r"https?://([\w.-]+)", path.read_text("utf-8"))
    # Names of XML's vocabularies, and licences in comments: nothing is loaded from these.
    assert set(hosts) <= {"www.w3.org", "www.apache.org", "github.com"}, path


def test_links_to_other_hosts_are_well_formed(built):
  for name, page in built.items():
    for link in page.links:
      if re.match(r"[a-z]+:", link):
        assert re.fullmatch(r"https://[a-z0-9.-]+\.[a-z]{2,}(/\S*)?|mailto:\S+@\S+", link), (
          name,
          link,
        )


def test_every_image_has_a_description(built):
  images = [(name, image) for name, page in built.items() for image in page.images]
  assert images
  for name, image in images:
    assert len(image.get("alt") or "") > 10 and image["alt"] not in image["src"], (name, image)


def test_every_page_can_be_reached(built):
  """From the index, by links alone."""
  reached, todo = set(), ["index.html"]
  while todo:
    name = todo.pop()
    if name in built and name not in reached:
      reached.add(name)
      todo += [found[0] for link in built[name].links if (found := target(name, link))]
  assert set(built) - reached <= {"search.html"}
