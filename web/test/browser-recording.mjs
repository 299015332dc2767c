/** Recordings on the watch page, and the past of a live stream. */
export async function recording({ page, check, expect, name }, mock) {
  const state = (s, timeout = 20_000) =>
    page.locator(`onair-player[data-state="${s}"]`).waitFor({ state: 'attached', timeout });
  const shown = () => page.evaluate(() => document.querySelector('video:not(.coming)').currentTime);
  const badge = () => page.locator('.badge').getAttribute('data-kind');
  const bar = page.getByRole('slider', { name: 'Seek' });
  const wake = () => page.mouse.move(100 + Math.random() * 50, 120);
  /** Waits until the picture is at a moment (s), give or take. */
  const at = (from, to) =>
    page.waitForFunction(
      ([a, b]) => {
        const v = document.querySelector('video:not(.coming)');
        return v.currentTime >= a && v.currentTime <= b && !v.seeking;
      },
      [from, to],
      { timeout: 15_000 },
    );

  const asset = mock.recorded.make({
    title: 'Friday town hall',
    download_url: '/v1/assets/as_1/download.mp4',
  });
  await page.goto(`${mock.base}/watch/${asset.playback_id}`);
  await state('playing');
  expect((await shown()) < 5, `it began at ${await shown()}`);
  expect(await page.locator('.badge').isHidden(), 'there is a badge on a recording');
  await wake();
  await check('recording-playing');
  expect(/^\d+:\d\d \/ 0:30$/.test(await page.locator('.position').textContent()), 'where it is');
  expect(/^0:\d\d of 0:30$/.test(await bar.getAttribute('aria-valuetext')), 'where it is, in words');
  expect(
    (await page.getByRole('link', { name: 'Download' }).getAttribute('href')).endsWith('.mp4'),
    'the file',
  );

  // Where the pointer is, there is a small picture of that moment.
  const box = await bar.boundingBox();
  expect(box.height >= 24, `the seek bar is ${box.height} px high`);
  await page.mouse.move(box.x + box.width * 0.7, box.y + box.height / 2);
  await page.locator('.peek-frame:not([hidden])').waitFor();
  await page.waitForFunction(() => document.querySelector('.peek-frame img').naturalWidth > 0);
  await check('recording-seek');
  const area = await page.locator('.peek-frame img').evaluate((e) => e.style.transform);
  expect(area.includes('translate(0px, -90px)'), `the picture of second 20 is at ${area}`);
  await page.mouse.click(box.x + box.width * 0.7, box.y + box.height / 2);
  await at(20, 24);
  await state('playing');

  await bar.focus();
  await page.keyboard.press('Home');
  await at(0, 3);
  await page.keyboard.press('ArrowRight');
  await at(9, 14);
  await page.keyboard.press('k');
  await state('paused');
  await page.keyboard.press('ArrowRight');
  await at(19, 24);
  await page.keyboard.press('k');
  await state('playing');
  await page.keyboard.press('End');
  await state('ended');
  await wake();
  await check('recording-ended');
  await page.getByRole('button', { name: 'Watch again' }).click();
  await state('playing');
  await at(0, 5);

  mock.recorded.remove(asset.playback_id);
  await state('missing', 15_000);
  await check('recording-deleted');

  // A live stream whose past can be gone back to.
  const stream = mock.make({ title: 'With a past', viewers: 2, dvr: 6 });
  mock.golive(stream);
  await mock.picture({ past: true });
  await page.goto(`${mock.base}/watch/${stream.playback_ids[0].id}`);
  await state('playing');
  await page.waitForFunction(() => document.querySelector('.scrub:not([hidden])'));
  expect((await badge()) === 'LIVE', `the badge at the edge is ${await badge()}`);
  await page.waitForTimeout(8000);
  await bar.focus();
  expect(
    (await bar.getAttribute('aria-valuetext')) === 'Live',
    `at the edge: ${await bar.getAttribute('aria-valuetext')}`,
  );
  await page.keyboard.press('Home');
  await at(0, 3);
  await wake();
  await page.locator('.badge[data-kind="BEHIND"]').waitFor();
  await check('dvr-behind');
  await page.getByRole('button', { name: /^Go to live/ }).click();
  await page.locator('.badge[data-kind="LIVE"]').waitFor({ timeout: 5000 });
  await bar.focus();
  await page.keyboard.press('Home');
  await at(0, 3);
  // It ends while the viewer is in its past, and goes on to its end.
  const last = mock.recorded.make({ title: 'With a past' });
  await mock.stopPicture('SIGINT');
  stream.replay = { playback_id: last.playback_id };
  mock.idle(stream);
  await page.waitForTimeout(6000);
  expect((await page.locator('onair-player').getAttribute('data-state')) === 'playing', 'it does not go on');
  await bar.focus();
  await page.keyboard.press('Home');
  await at(0, 3);
  await page.keyboard.press('End');
  await state('ended');
  await wake();
  await check('dvr-ended');
  await page.getByRole('button', { name: 'Watch again' }).click();
  await at(0, 4);
  // Whoever comes later finds the recording.
  await page.goto(`${mock.base}/watch/${stream.playback_ids[0].id}`);
  await state('offline');
  await check('watch-replay');
  await page.getByRole('link', { name: 'Watch the recording' }).click();
  await page.waitForURL(new RegExp(`/watch/${last.playback_id}$`));
  await state('playing');
  console.log(`${name}: recordings pass`);
}
