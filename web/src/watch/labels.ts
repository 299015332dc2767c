/** "720p", "1080p60": the short side names a quality, upright pictures too. '' without a size. */
export function qualityLabel(q: { width: number; height: number; frameRate: number }): string {
  const side = q.width ? Math.min(q.width, q.height) : q.height;
  if (!side) return '';
  return `${side}p${q.frameRate > 31 ? Math.round(q.frameRate) : ''}`;
}
