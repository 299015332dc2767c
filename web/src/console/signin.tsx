import { useState } from 'preact/hooks';
import { ApiError, inWords } from '../lib/api';
import { signedOutBecause, signIn } from './store';
import { ErrorLine, Icon, Logo, masked } from './ui';

export function SignIn() {
  const [token, setToken] = useState('');
  const [stay, setStay] = useState(false);
  const [shown, setShown] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  const submit = async (e: Event) => {
    e.preventDefault();
    setError('');
    if (!token.trim()) {
      setError('Enter the admin token first.');
      return;
    }
    setBusy(true);
    try {
      await signIn(token.trim(), stay);
    } catch (err) {
      const wrong = err instanceof ApiError && err.status === 401;
      setError(wrong ? 'That is not the admin token of this server.' : inWords(err));
      setBusy(false);
    }
  };
  return (
    <main class="signin">
      <form class="signin-card" onSubmit={submit} noValidate>
        <Logo />
        <h1>Sign in</h1>
        <p class="muted">Manage the live streams of this server.</p>
        {signedOutBecause.value && !error && <ErrorLine text={signedOutBecause.value} />}
        <div class="field">
          <label for="token">Admin token</label>
          <div class="copyfield">
            <input
              id="token"
              name="token"
              class="mono"
              {...masked(!shown)}
              autocomplete="current-password"
              autocapitalize="off"
              spellcheck={false}
              value={token}
              aria-invalid={error !== ''}
              aria-describedby="token-error"
              onInput={(e) => setToken(e.currentTarget.value)}
            />
            <button
              type="button"
              class="icon-button"
              aria-label={shown ? 'Hide token' : 'Show token'}
              onClick={() => setShown(!shown)}
            >
              <Icon name={shown ? 'eyeOff' : 'eye'} />
            </button>
          </div>
          <div id="token-error">
            <ErrorLine text={error} />
          </div>
        </div>
        <label class="check">
          <input type="checkbox" checked={stay} onChange={(e) => setStay(e.currentTarget.checked)} />
          Stay signed in on this computer
        </label>
        <button type="submit" class="button primary wide" disabled={busy}>
          {busy ? 'Signing in…' : 'Sign in'}
        </button>
        <details class="hint">
          <summary>Where is my token?</summary>
          <p>
            It was printed once, when the server started for the first time. To set one of your own, start the
            server with <code>--admin-token</code> or <code>ONAIR_ADMIN_TOKEN</code>.
          </p>
        </details>
      </form>
    </main>
  );
}
