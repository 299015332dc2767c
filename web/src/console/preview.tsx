import { useEffect, useRef, useState } from 'preact/hooks';
import type { LiveStream } from '../lib/types';
import type { Engine } from '../watch/engine';

/** What viewers see, without sound. The player is loaded when there is something to play. */
export function Preview({ stream }: { stream: LiveStream }) {
  const video = useRef<HTMLVideoElement>(null);
  const [moving, setMoving] = useState(false);
  const on = stream.status === 'active' || stream.status === 'reconnecting';
  const id = stream.playback_ids[0]?.id;
  const hidden =
    stream.active_ingest !== null && !stream.active_ingest.tracks?.some((t) => t.kind === 'video');
  const session = stream.active_ingest?.session_id ?? '';
  useEffect(() => {
    const v = video.current;
    if (!on || !id || !v) return;
    let gone = false;
    let engine: Engine | undefined;
    let check: ReturnType<typeof setInterval> | undefined;
    void import('../watch/engine-hls').then(({ HlsEngine }) => {
      if (gone) return;
      let last = 0;
      let still = 0;
      const make = () => {
        engine?.destroy();
        engine = new HlsEngine(
          v,
          `/hls/${id}/index.m3u8`,
          { onFault: () => {}, onFinished: () => setMoving(false), onQualities: () => {} },
          -1,
        );
        engine.start().then(
          () => v.play().catch(() => {}),
          () => {},
        );
      };
      make();
      check = setInterval(() => {
        setMoving(v.currentTime !== last);
        still = v.currentTime === last ? still + 1 : 0;
        last = v.currentTime;
        // A preview that stands still this long is made anew; nobody is watching closely.
        if (still >= 10 && !document.hidden) {
          still = 0;
          make();
        }
      }, 1000);
    });
    return () => {
      gone = true;
      clearInterval(check);
      engine?.destroy();
      setMoving(false);
    };
  }, [on, id, session]);
  if (!on || hidden) return null;
  return (
    <section class="preview" aria-label="Preview, without sound">
      <video ref={video} muted playsInline tabIndex={-1} />
      <p class="preview-note">{moving ? 'What viewers see' : 'Preview is starting…'}</p>
    </section>
  );
}
