// Colours code once it is complete and near the window. Nothing is put into the page for it: the
// browser is told which letters are what (CSS Custom Highlight API), so a page that is kept up to
// date and one that is made anew stay the same. A browser without it shows code in one colour.

const LANGUAGES = {
  bash: ['sh', 'shell', 'zsh', 'console'],
  cpp: ['c', 'h', 'hpp', 'c++', 'cc'],
  csharp: ['cs', 'c#'],
  css: [],
  diff: ['patch'],
  dockerfile: ['docker'],
  go: ['golang'],
  ini: ['toml'],
  java: [],
  javascript: ['js', 'jsx', 'mjs'],
  json: ['jsonc', 'json5'],
  kotlin: ['kt'],
  markdown: ['md'],
  php: [],
  powershell: ['ps1', 'pwsh'],
  python: ['py'],
  ruby: ['rb'],
  rust: ['rs'],
  sql: ['postgresql', 'psql', 'sqlite', 'mysql'],
  swift: [],
  typescript: ['ts', 'tsx'],
  xml: ['html', 'svg', 'xhtml'],
  yaml: ['yml'],
};

// What highlight.js tells apart, as the few colours that a reader does.
const KINDS = {
  keyword: ['keyword', 'literal', 'selector-tag', 'section', 'doctag', 'meta'],
  string: ['string', 'regexp', 'addition', 'link'],
  number: ['number', 'symbol', 'bullet', 'variable', 'template-variable'],
  comment: ['comment', 'quote'],
  name: ['title', 'name', 'type', 'built_in', 'attr', 'attribute', 'property', 'selector-class', 'selector-id'],
  deletion: ['deletion'],
};

// Longer code takes longer than a reader would wait for a colour.
const LONGEST = 64 * 1024;

const NEAR = '800px 0px';

export function colours() {
  if (!CSS.highlights) return { look() {} };
  const kinds = new Map(Object.entries(KINDS).flatMap(([kind, scopes]) => scopes.map((scope) => [scope, kind])));
  const marks = new Map(Object.keys(KINDS).map((kind) => [kind, new Highlight()]));
  for (const [kind, mark] of marks) CSS.highlights.set(`code-${kind}`, mark);
  // The ranges of each code that is coloured now.
  const coloured = new Map();
  const watched = new WeakSet();
  const near = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) colour(target);
      else bleach(target);
    }
  }, { root: document.getElementById('scroller'), rootMargin: NEAR });

  async function colour(code) {
    const language = languageOf(code);
    if (!language || coloured.has(code) || code.textContent.length > LONGEST) return;
    coloured.set(code, []);
    const spans = await parse(code.textContent, language).catch(() => []);
    if (!coloured.has(code)) return;
    code.normalize();
    const text = code.firstChild;
    if (!text || code.childNodes.length > 1) return;
    const ranges = coloured.get(code);
    for (const { scope, from, to } of spans) {
      const mark = marks.get(kinds.get(scope) ?? kinds.get(scope.split('.')[0]));
      if (!mark || to > text.length) continue;
      const range = new StaticRange({ startContainer: text, startOffset: from, endContainer: text, endOffset: to });
      mark.add(range);
      ranges.push([mark, range]);
    }
  }

  function bleach(code) {
    for (const [mark, range] of coloured.get(code) ?? []) mark.delete(range);
    coloured.delete(code);
  }

  // Takes up code that is complete, and lets go of what is no longer on the page.
  function look() {
    for (const code of coloured.keys()) if (!code.isConnected) bleach(code);
    for (const code of document.querySelectorAll('#turns pre > code[class^="language-"]')) {
      if (watched.has(code) || isOpen(code)) continue;
      watched.add(code);
      near.observe(code);
    }
  }

  return { look };
}

// Whether the answer may still add to this code: it is the last of an answer that is being given.
function isOpen(code) {
  const round = code.closest('.round');
  if (!round || round.matches(':not(:last-child)')) return false;
  const runs = code.closest('.turn')?.querySelector(':scope > .foot:is([data-standing="runs"], [data-standing="waits"])');
  return Boolean(runs) && code.closest('.block')?.nextElementSibling === null;
}

function languageOf(code) {
  const named = code.className.replace(/^language-/, '').toLowerCase();
  return Object.keys(LANGUAGES).find((name) => name === named || LANGUAGES[name].includes(named));
}

let core = null;

// The spans of a text: { scope, from, to }.
async function parse(text, language) {
  core ??= import('./highlight-core.js').then(({ default: hljs }) => {
    hljs.configure({ __emitter: Spans });
    return hljs;
  });
  const hljs = await core;
  if (!hljs.getLanguage(language)) {
    const grammar = await import(`./highlight-${language}.js`);
    hljs.registerLanguage(language, grammar.default);
  }
  return hljs.highlight(text, { language, ignoreIllegals: true })._emitter.spans;
}

// What highlight.js is told to write: spans in place of HTML.
class Spans {
  constructor() {
    this.spans = [];
    this.at = 0;
    this.open = [];
  }

  addText(text) {
    this.at += text.length;
  }

  startScope(scope) {
    this.open.push({ scope: scope ?? '', from: this.at });
  }

  endScope() {
    const ended = this.open.pop();
    if (ended) this.spans.push({ ...ended, to: this.at });
  }

  openNode(scope) {
    this.startScope(scope);
  }

  closeNode() {
    this.endScope();
  }

  __addSublanguage(other) {
    for (const { scope, from, to } of other.spans) this.spans.push({ scope, from: from + this.at, to: to + this.at });
    this.at += other.at;
  }

  closeAllNodes() {
    while (this.open.length > 0) this.endScope();
  }

  finalize() {
    this.closeAllNodes();
  }

  toHTML() {
    return '';
  }
}
