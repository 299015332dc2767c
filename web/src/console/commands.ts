/** A command line that publishes a file, or a moving test picture with a tone. */
export function ffmpegCommand(source: 'file' | 'test', server: string, key: string): string {
  const input =
    source === 'file'
      ? '-re -i input.mp4'
      : '-re -f lavfi -i testsrc2=size=1280x720:rate=30 \\\n  -f lavfi -i sine=frequency=440:sample_rate=48000';
  return [
    `ffmpeg ${input} \\`,
    '  -c:v libx264 -preset veryfast -tune zerolatency -pix_fmt yuv420p \\',
    '  -b:v 2500k -maxrate 2500k -bufsize 2500k \\',
    "  -force_key_frames 'expr:gte(t,n_forced*2)' \\",
    '  -c:a aac -b:a 128k -ar 48000 \\',
    `  -f flv '${server}/${key}'`,
  ].join('\n');
}
