// Questions to the page's own server, with the key where the server demands one. The key stays in
// this tab, and goes with it: it stands in no address, and in no cookie, which the browser would also
// send to the other servers of this machine.
const NAME = "hakaru.key";
let key = null;
try {
  key = sessionStorage.getItem(NAME);
} catch {
  // a browser that keeps nothing: the key is asked for again after a reload
}

/** Whether a key was given in this tab. */
export const hasKey = () => key !== null;

/** Use this key from now on; null: none. */
export function useKey(given) {
  key = given;
  try {
    if (given === null) sessionStorage.removeItem(NAME);
    else sessionStorage.setItem(NAME, given);
  } catch {
    // as above
  }
}

/** `fetch`, as the server wants it. A key that it takes no more is asked for anew. */
export async function call(path, options = {}) {
  const headers = { ...options.headers, ...(key !== null && { Authorization: `Bearer ${key}` }) };
  const response = await fetch(path, { ...options, headers });
  if (response.status === 401 && key !== null) {
    useKey(null);
    location.reload();
  }
  return response;
}
