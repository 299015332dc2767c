import styleUrl from '@stoplight/elements/styles.min.css?url';
import scriptUrl from '@stoplight/elements/web-components.min.js?url';

// The bundle registers <elements-api>; it draws the reference from the server's own OpenAPI document.
const style = document.createElement('link');
style.rel = 'stylesheet';
style.href = styleUrl;
const script = document.createElement('script');
script.src = scriptUrl;
document.head.append(style, script);

const api = document.createElement('elements-api');
api.setAttribute('apiDescriptionUrl', '/v1/openapi.json');
api.setAttribute('router', 'hash');
api.setAttribute('layout', 'responsive');
document.documentElement.dataset.theme = matchMedia('(prefers-color-scheme: dark)').matches
  ? 'dark'
  : 'light';
document.getElementById('app')?.replaceChildren(api);
