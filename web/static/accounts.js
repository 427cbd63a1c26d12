// The tabs of one browser tell each other when an account was connected, or not.

const CHANNEL = 'toolgate-accounts';

// Tells the other tabs { server, connected }.
export function tell(news) {
  const channel = new BroadcastChannel(CHANNEL);
  channel.postMessage(news);
  channel.close();
  // A tab that was opened by script knows its opener, which may live in another browsing group.
  window.opener?.postMessage({ channel: CHANNEL, ...news }, location.origin);
}

// Hears what other tabs tell.
export function hear(told) {
  new BroadcastChannel(CHANNEL).addEventListener('message', (event) => told(event.data));
  addEventListener('message', (event) => {
    if (event.origin === location.origin && event.data?.channel === CHANNEL) told(event.data);
  });
}
