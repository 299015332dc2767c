const KEY = 'onair.token';

/** The token kept from an earlier visit: of this tab, or of this browser if that was asked for. */
export function savedToken(): string {
  try {
    return sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY) ?? '';
  } catch {
    return '';
  }
}

/** Keeps the token for the tab, or for the browser. */
export function saveToken(token: string, stay: boolean): void {
  try {
    sessionStorage.setItem(KEY, token);
    if (stay) localStorage.setItem(KEY, token);
    else localStorage.removeItem(KEY);
  } catch {
    // Storage is off: signed in as long as the page lives.
  }
}

export function forgetToken(): void {
  try {
    sessionStorage.removeItem(KEY);
    localStorage.removeItem(KEY);
  } catch {
    // Nothing was kept.
  }
}
