import { render } from 'preact';
import { useEffect } from 'preact/hooks';
import { List } from './list';
import { openStream } from './route';
import { SignIn } from './signin';
import { api, feedOpen, resume, server, signOut, streams } from './store';
import { StreamPage } from './stream';
import { Logo, Toast } from './ui';

function App() {
  const open = openStream.value;
  const title = open ? streams.value?.find((s) => s.id === open)?.title || 'Stream' : 'Streams';
  const signedIn = api.value !== null;
  useEffect(() => {
    document.title = signedIn ? `${title} · onair` : 'Sign in · onair';
  }, [title, signedIn]);
  if (!signedIn) return <SignIn />;
  return (
    <>
      <header class="top">
        <div class="top-inner">
          <a href="#/" class="home" aria-label="onair, all streams">
            <Logo />
          </a>
          {feedOpen.value === false && (
            <span class="feed-lost" role="status">
              Reconnecting…
            </span>
          )}
          <nav aria-label="Main">
            <a class="text-button" href="/docs">
              API
            </a>
            <button type="button" class="text-button" onClick={() => signOut()}>
              Sign out
            </button>
          </nav>
        </div>
      </header>
      <main class="page">{open ? <StreamPage key={open} id={open} /> : <List />}</main>
      <footer class="foot muted">{server.value.version ? `onair ${server.value.version}` : 'onair'}</footer>
      <Toast />
    </>
  );
}

resume();
const root = document.getElementById('app');
if (root) render(<App />, root);
