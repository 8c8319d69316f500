"""What is run inside pages: small functions of an element or of the document.

They run in a world of their own, where the page's scripts cannot have replaced anything.
"""

TEXT = """(most) => {
  const all = document.body || document.documentElement;
  return all ? (all.innerText ?? all.textContent).slice(0, most) : '';
}"""

ABOUT = "() => [location.href.slice(0, 4096), document.title.slice(0, 1000)]"

SHOWS = """async (text, wait) => {
  const until = Date.now() + wait;
  for (;;) {
    if (document.body && document.body.innerText.includes(text)) return true;
    if (Date.now() > until) return false;
    await new Promise(done => setTimeout(done, 100));
  }
}"""

# What to do with an element before it is clicked: waits until it can be, returns why it cannot.
READY = """async function(wait) {
  const until = Date.now() + wait;
  const name = e => e.tagName.toLowerCase() + (e.id ? '#' + e.id : '');
  const why = () => {
    const e = this.nodeType === 1 ? this : this.parentElement;
    if (!e || !e.isConnected) return 'gone';
    if (e.matches(':disabled') || e.closest('[aria-disabled="true"]')) return 'it is disabled';
    e.scrollIntoView({block: 'center', inline: 'center', behavior: 'instant'});
    const r = e.getBoundingClientRect();
    if (!r.width || !r.height || getComputedStyle(e).visibility !== 'visible')
      return 'it is not visible';
    const root = e.getRootNode();
    const top = root.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2);
    const label = e.closest('label');
    const same = top && (e.contains(top) || top.contains(e) || (label && label.contains(top))
      || [...(e.labels || [])].some(l => l.contains(top))
      || (top.shadowRoot && root.host) || getComputedStyle(e).display === 'inline');
    return same ? '' : top ? name(top) + ' lies over it' : 'it is outside of the window';
  };
  for (;;) {
    const found = why();
    if (!found || found === 'gone' || Date.now() > until) return found;
    await new Promise(done => setTimeout(done, 100));
  }
}"""

# Focuses an element for typing, all that is in it selected. Returns how to type: 'insert', 'set'
# (done already), or why not.
FOCUS = """function(text) {
  const e = this;
  if (!e.isConnected) return 'gone';
  const set = value => {
    const own = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(e), 'value');
    own.set.call(e, value);
    e.dispatchEvent(new Event('input', {bubbles: true}));
    e.dispatchEvent(new Event('change', {bubbles: true}));
  };
  if (e.matches && (e.matches(':disabled') || e.readOnly)) return 'it cannot be changed';
  if (e instanceof HTMLSelectElement) {
    const wanted = text.trim();
    const option = [...e.options].find(o => o.label.trim() === wanted || o.value === text);
    if (!option) return 'it has no option ' + JSON.stringify(wanted) + '; it has ' +
      [...e.options].slice(0, 30).map(o => JSON.stringify(o.label.trim())).join(', ');
    e.focus();
    option.selected = true;
    e.dispatchEvent(new Event('input', {bubbles: true}));
    e.dispatchEvent(new Event('change', {bubbles: true}));
    return 'set';
  }
  if (e instanceof HTMLInputElement) {
    if (['checkbox', 'radio', 'button', 'submit', 'reset', 'image'].includes(e.type))
      return 'it is no text field; click it';
    if (e.type === 'file') return 'files of yours are not for pages';
    e.focus();
    if (['date', 'time', 'month', 'week', 'datetime-local', 'color', 'range'].includes(e.type)) {
      set(text);
      return e.value ? 'set' : 'it takes no such value: it is of the type ' + e.type;
    }
    e.select();
    return 'insert';
  }
  if (e instanceof HTMLTextAreaElement) { e.focus(); e.select(); return 'insert'; }
  if (!e.isContentEditable) return 'it is no text field';
  e.focus();
  getSelection().selectAllChildren(e);
  return 'insert';
}"""

# The words of an element, for capturing.
WORDS = """function(most) {
  const words = 'value' in this && typeof this.value === 'string' ? this.value : this.innerText;
  return (words ?? this.textContent ?? '').slice(0, most);
}"""

# Where a document came from, and whether nobody on the way could have changed it.
ORIGIN = "() => [location.hostname, isSecureContext && /^https?:$/.test(location.protocol)]"

FOCUSED = """() => {
  const inner = root => root.activeElement && root.activeElement.shadowRoot
    ? [root.activeElement].concat(inner(root.activeElement.shadowRoot))
    : root.activeElement ? [root.activeElement] : [];
  return inner(document);
}"""

FIND = "(selector) => document.querySelector(selector)"

PASSWORDS = """() => {
  const all = root => [...root.querySelectorAll('input[type=password]')].concat(
    ...[...root.querySelectorAll('*')].filter(e => e.shadowRoot).map(e => all(e.shadowRoot)));
  return all(document);
}"""

VALUES = """(most) => [...document.querySelectorAll('input,textarea')].slice(0, most)
  .map(e => String(e.value).slice(0, most))"""

FIELDS = """(which) => [...document.querySelectorAll('input,textarea')]
  .filter((_, index) => which.includes(index))"""

# Makes elements unreadable, and keeps how they were.
HIDE = """function() {
  const keys = ['color', '-webkit-text-fill-color', 'text-shadow', 'caret-color', 'background',
    '-webkit-text-security', 'transition', 'opacity', 'filter'];
  const as = ['transparent', 'transparent', 'none', 'transparent', '#777', 'none', 'none', '1',
    'none'];
  const old = this.style ? this.getAttribute('style') : null;
  if (this.style) keys.forEach((key, i) => this.style.setProperty(key, as[i], 'important'));
  return old;
}"""

SHOW = """function(old) {
  if (old === null) this.removeAttribute('style'); else this.setAttribute('style', old);
}"""

# How a value of the page's own scripts is said in words.
SAID = """function(most) {
  const value = this;
  let text;
  try { text = JSON.stringify(value); } catch (error) { text = undefined; }
  const plain = Object.getPrototypeOf(value) === Object.prototype;
  return (text === undefined || text === '{}' && !plain ? String(value) : text).slice(0, most);
}"""

UNDRIVEN = """(() => {
  delete Object.getPrototypeOf(navigator).webdriver;
  if (!window.chrome) window.chrome = {runtime: {}};
})()"""
