// The tabs of one browser tell each other how connecting an account went.
//
// The tab that connects knows no opener: it leads through other people's pages, and those must not
// be able to steer the chat.

const CHANNEL = 'toolgate-accounts';

// Tells the other tabs { server, outcome }: see OUTCOMES in servers.js.
export function tell(news) {
  const channel = new BroadcastChannel(CHANNEL);
  channel.postMessage(news);
  channel.close();
}

// Hears what other tabs tell.
export function hear(told) {
  new BroadcastChannel(CHANNEL).addEventListener('message', (event) => told(event.data));
}
