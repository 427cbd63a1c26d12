// The tabs of one browser that show Toolgate, as they know of each other.

const CHANNEL = 'toolgate-tabs';

// How long the other tabs have to say that somebody sees them.
const ANSWER_MS = 3000;

const channel = new BroadcastChannel(CHANNEL);

channel.addEventListener('message', ({ data }) => {
  if (data.kind === 'who is seen' && isSeen()) channel.postMessage({ kind: 'seen' });
});

// Whether somebody sees this tab.
export function isSeen() {
  return document.visibilityState === 'visible' && document.hasFocus();
}

// Whether somebody sees this tab or another one.
export function anySeen() {
  if (isSeen()) return Promise.resolve(true);
  return new Promise((done) => {
    const hear = ({ data }) => data.kind === 'seen' && end(true);
    const timer = setTimeout(() => end(false), ANSWER_MS);
    function end(seen) {
      clearTimeout(timer);
      channel.removeEventListener('message', hear);
      done(seen);
    }
    channel.addEventListener('message', hear);
    channel.postMessage({ kind: 'who is seen' });
  });
}

// Tells the other tabs something; `hear` is told what they tell.
export function tell(kind, value) {
  channel.postMessage({ kind, value });
}

export function hear(kind, told) {
  channel.addEventListener('message', ({ data }) => data.kind === kind && told(data.value));
}
