"""The built site, as HTML and as a browser has it."""

import html.parser
import urllib.parse

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


class Page(html.parser.HTMLParser):
  """What a page links to, what it loads, and the anchors that it has."""

  # Tag -> the attribute by which it loads something.
  LOADS = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src"}

  def __init__(self, path):
    super().__init__()
    self.links, self.loads, self.anchors, self.images = [], [], set(), []
    self.feed(path.read_text("utf-8"))

  def handle_starttag(self, tag, attributes):
    found = dict(attributes)
    self.anchors.add(found.get("id") or found.get("name") or "")
    if tag == "a" and "href" in found:
      self.links.append(found["href"])
    elif self.LOADS.get(tag) in found:
      self.loads.append(found[self.LOADS[tag]])
    if tag == "img":
      self.images.append(found)


def pages(site):
  """Path below the site -> `Page`, of every page."""
  return {path.relative_to(site).as_posix(): Page(path) for path in sorted(site.rglob("*.html"))}


def target(page, link):
  """(path, anchor) below the site of a link on a page; None for a link to elsewhere."""
  parts = urllib.parse.urlsplit(link)
  if parts.scheme or parts.netloc:
    return None
  path = urllib.parse.urljoin(f"/{page}", urllib.parse.unquote(parts.path) or page.split("/")[-1])
  path = path.removeprefix("/")
  if path == "" or path.endswith("/"):
    path += "index.html"
  return path, urllib.parse.unquote(parts.fragment)


class Visit:
  """A browser's context that lets nothing be loaded from elsewhere, and notes what goes wrong."""

  def __init__(self, context, start):
    self.context, self.start, self.wrong = context, start, []
    context.route("**/*", self._own_host_only)
    self.page = context.new_page()
    self.page.on("console", self._console)
    self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
    self.page.on("requestfailed", lambda request: self.wrong.append(f"failed: {request.url}"))
    self.page.on("response", self._response)

  def go(self, path):
    """Opens a page of the site, and waits until its mathematics is set."""
    self.page.goto(f"{self.start}/{path}", wait_until="load")
    self.page.evaluate("() => window.MathJax?.startup?.promise")

  def _own_host_only(self, route):
    if route.request.url.startswith((self.start, "data:")):
      route.continue_()
    else:
      self.wrong.append(f"another host: {route.request.url}")
      route.abort()

  def _console(self, message):
    if message.type in ("error", "warning"):
      self.wrong.append(f"console: {message.text}")

  def _response(self, response):
    if response.status >= 400:
      self.wrong.append(f"{response.status}: {response.url}")


# Contrast as WCAG 2 has it, of every piece of text that can be seen: the least, and where it is.
CONTRAST = """() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));
  const backgrounds = new Map();
  const background = (element) => {
    if (!backgrounds.has(element)) backgrounds.set(element, backgroundOf(element));
    return backgrounds.get(element);
  };
  const backgroundOf = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const luminance = (colour) => {
    const [r, g, b] = colour.map((v) => v / 255)
      .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const walker = document.createTreeWalker(document.querySelector('article'), NodeFilter.SHOW_TEXT);
  const known = new Map();
  let least = [21, ''];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || element.closest('button, .headerlink, mjx-assistive-mml')) continue;
    const style = getComputedStyle(element);
    if (style.visibility === 'hidden' || style.opacity === '0') continue;
    const below = background(element);
    const key = style.color + below;
    if (!known.has(key)) {
      const pair = [luminance(over(parse(style.color), below)), luminance(below)].sort((a, b) => b - a);
      known.set(key, (pair[0] + 0.05) / (pair[1] + 0.05));
    }
    if (known.get(key) < least[0]) least = [known.get(key), `${node.data.trim()} (${style.color})`];
  }
  return least;
}"""
