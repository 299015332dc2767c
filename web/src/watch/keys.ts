/** What a key does on the watch page, for the help and for the handler alike. */
export const SHORTCUTS = [
  { keys: ['Space', 'k'], words: 'Play or pause' },
  { keys: ['m'], words: 'Sound on or off' },
  { keys: ['f'], words: 'Full screen' },
  { keys: ['←', '→'], words: 'Back 10 s, forward 10 s' },
  { keys: ['↑', '↓'], words: 'Louder, quieter' },
  { keys: ['l'], words: 'Go to live' },
  { keys: ['s'], words: 'Statistics' },
  { keys: ['?'], words: 'This list' },
] as const;

export type KeyAction =
  | 'play'
  | 'mute'
  | 'full'
  | 'back'
  | 'forward'
  | 'louder'
  | 'quieter'
  | 'live'
  | 'stats'
  | 'help';

const ACTIONS: Record<string, KeyAction> = {
  ' ': 'play',
  k: 'play',
  m: 'mute',
  f: 'full',
  ArrowLeft: 'back',
  ArrowRight: 'forward',
  ArrowUp: 'louder',
  ArrowDown: 'quieter',
  l: 'live',
  s: 'stats',
  '?': 'help',
};

/** The action of a key press, or undefined where the key belongs to somebody else. */
export function actionFor(e: {
  key: string;
  ctrlKey: boolean;
  metaKey: boolean;
  altKey: boolean;
  /** Local names of the elements it passed, innermost first. */
  path: string[];
}): KeyAction | undefined {
  if (e.ctrlKey || e.metaKey || e.altKey) return undefined;
  const key = e.key.length === 1 ? e.key.toLowerCase() : e.key;
  const action = ACTIONS[key];
  if (!action) return undefined;
  const within = (...names: string[]) => e.path.some((p) => names.includes(p));
  if (within('input', 'textarea', 'select', 'dialog')) return undefined;
  // Buttons answer to space themselves, menus and sliders to arrows.
  const control = within(
    'button',
    'a',
    'summary',
    'media-play-button',
    'media-mute-button',
    'media-pip-button',
  );
  if (key === ' ' && (control || within('media-fullscreen-button'))) return undefined;
  if (key.startsWith('Arrow') && within('media-volume-range', '[menu]', '[seek]')) return undefined;
  return action;
}
