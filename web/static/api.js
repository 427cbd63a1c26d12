// Requests to Toolgate's own API.

// An error as a person needs it: what happened, and what to do.
export class Refused extends Error {
  constructor(problem, status) {
    super(problem.detail ?? 'Toolgate could not be reached.');
    this.advice = problem.advice ?? '';
    this.requestId = problem.request_id ?? '';
    this.layer = problem.layer ?? '';
    this.code = problem.code ?? '';
    this.param = problem.param ?? '';
    this.status = status;
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
