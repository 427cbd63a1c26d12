// Requests to Toolgate's own API.

// An error as a person needs it: what happened, and what to do.
export class Refused extends Error {
  constructor(problem, status) {
    super(problem.detail ?? 'Toolgate could not be reached.');
    this.advice = problem.advice ?? '';
    this.requestId = problem.request_id ?? '';
    this.layer = problem.layer ?? '';
    this.code = problem.code ?? '';
    // The turn that is in the way.
    this.turn = problem.turn ?? '';
    this.status = status;
  }

  // Whether nobody said no: Toolgate was not reached, or restarts.
  get isPassing() {
    return this.status === 0 || this.code === 'restarting' || (this.status >= 500 && this.code === '');
  }

  // Whether an answer is being given in the conversation already.
  get isBusy() {
    return this.code === 'busy';
  }

  // What happened and what to do, in one line.
  get words() {
    return [this.message, this.advice].filter(Boolean).join(' ');
  }
}

// Posts JSON and gives the answer's JSON; throws Refused.
export function post(path, body) {
  return send('POST', path, body);
}

// The same by another method: PATCH, DELETE.
export async function send(method, path, body) {
  const response = await request(path, {
    method,
    headers: { 'Content-Type': 'application/json', Accept: 'application/json' },
    body: JSON.stringify(body),
  });
  return parse(response);
}

// The JSON of a GET; throws Refused.
export async function get(path) {
  return parse(await request(path, { headers: { Accept: 'application/json' } }));
}

// The elements of a GET whose answer is HTML that the server made; throws Refused. Scripts in it do
// not run, and the page's policy allows none.
export async function fragment(path) {
  const response = await request(path, { headers: { Accept: 'text/html' } });
  if (!response.ok) return parse(response);
  const template = document.createElement('template');
  template.innerHTML = await response.text();
  return document.importNode(template.content, true);
}

// Whether the session still lives: 'yes', 'no' (sign in again), or 'unknown'.
export async function sessionLives() {
  try {
    const response = await request('/api/session', { headers: { Accept: 'application/json' } });
    if (response.ok) return 'yes';
    return response.status === 401 ? 'no' : 'unknown';
  } catch {
    return 'unknown';
  }
}

async function request(path, options) {
  try {
    // A redirect would lead to a sign-in page of another origin.
    return await fetch(path, { ...options, redirect: 'manual', cache: 'no-store' });
  } catch {
    throw new Refused({ advice: 'Check your connection; what you typed is kept.' }, 0);
  }
}

async function parse(response) {
  const text = await response.text();
  let body = {};
  try {
    body = text === '' ? {} : JSON.parse(text);
  } catch {
    body = {};
  }
  if (response.ok) return body;
  if (response.status === 401 || response.type === 'opaqueredirect') {
    throw new Refused({ detail: 'Your session has ended.', advice: 'Sign in again; what you typed is kept.' }, 401);
  }
  // What was wrong with the request itself will be wrong again.
  const passes = response.status >= 500 || response.status === 429;
  const advice = passes ? 'Try again in a moment.' : '';
  throw new Refused({ detail: `Toolgate answered with status ${response.status}.`, advice, ...body }, response.status);
}

// A new id, by which a message that is sent twice counts once.
export function messageId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
