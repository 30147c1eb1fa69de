// The daemon's answers: a token where one is wanted, and failures that can be told apart.

const KEY = "vaeiso-monitor-token";
const PATIENCE = 10_000;

/** Nobody answered: the daemon is stopped, restarts, or the network is gone. */
export class Unreachable extends Error {}

/** The daemon answered no; `status` is the HTTP status, the message its words. */
export class Refused extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (text) => (text ? sessionStorage.setItem(KEY, text) : sessionStorage.removeItem(KEY)),
};

/** Ask for a path under api/v1; with a body it is posted. */
export async function ask(path, body) {
  const headers = {};
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(`api/v1/${path}`, {
      method: body === undefined ? "GET" : "POST",
      body: body === undefined ? undefined : JSON.stringify(body),
      headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE),
    });
  } catch (error) {
    throw new Unreachable(String(error));
  }
  if (answer.status === 502 || answer.status === 504) throw new Unreachable(String(answer.status));
  const found = await answer.json().catch(() => ({}));
  if (answer.ok) return found;
  throw new Refused(answer.status, found.detail ?? found.words ?? found.error ?? `the answer was ${answer.status}`);
}
