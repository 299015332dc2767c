import { useEffect, useRef, useState } from 'preact/hooks';
import type { LiveStream } from '../lib/types';

/** How often (ms) a picture that can be seen is asked for anew; the server makes one at most as often. */
const EVERY = 10_000;

/** The stream as it looks now, while it is on and the picture is in view; decoration beside its title. */
export function Thumbnail({ stream }: { stream: LiveStream }) {
  const box = useRef<HTMLSpanElement>(null);
  const [src, setSrc] = useState('');
  const [bad, setBad] = useState(false);
  const url = stream.playback?.thumbnail_url;
  const on = stream.status === 'active' || stream.status === 'reconnecting';
  const wanted = Boolean(url) && on;
  useEffect(() => {
    const element = box.current;
    if (!wanted || !url || !element) {
      setSrc('');
      return;
    }
    let visible = false;
    const ask = () => {
      if (!visible || document.hidden) return;
      // The address may name the server as others see it; the page may only load from where it came.
      const at = new URL(url, location.href);
      setBad(false);
      setSrc(`${at.pathname}?width=320&t=${Math.floor(Date.now() / EVERY)}`);
    };
    const watch = new IntersectionObserver((entries) => {
      const now = entries.at(-1)?.isIntersecting ?? false;
      const came = now && !visible;
      visible = now;
      if (came) ask();
    });
    watch.observe(element);
    const timer = setInterval(ask, EVERY);
    return () => {
      watch.disconnect();
      clearInterval(timer);
    };
  }, [wanted, url]);
  return (
    <span class="thumb" ref={box} aria-hidden="true">
      {src && !bad && <img src={src} alt="" onError={() => setBad(true)} />}
    </span>
  );
}
