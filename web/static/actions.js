// What the buttons in the conversation do.

import { post } from './api.js';

export function listenForActions(box) {
  const turns = document.getElementById('main');
  turns.addEventListener('click', (event) => {
    const button = event.target.closest('[data-do]');
    if (!button) return;
    if (button.dataset.do === 'approve') answer(button.form, { kind: 'approve' });
    if (button.dataset.do === 'say') box.say(button.dataset.message);
    if (button.dataset.do === 'try-again') {
      box.fill(button.closest('.turn').querySelector('.message').textContent);
    }
  });
  turns.addEventListener('submit', (event) => {
    if (!event.target.matches('.ask')) return;
    // Enter in the reason denies: only the button approves.
    event.preventDefault();
    answer(event.target, { kind: 'deny', reason: event.target.elements.reason.value.trim() });
  });
}

// Answers a question about a call; the card changes when the answer is in the log.
async function answer(form, body) {
  const { turn, question } = form.dataset;
  const refused = form.querySelector('.refused');
  const buttons = [...form.querySelectorAll('button')];
  refused.hidden = true;
  for (const button of buttons) button.disabled = true;
  try {
    await post(`/api/turns/${turn}/questions/${question}`, body);
  } catch (error) {
    refused.textContent = [error.message, error.advice].filter(Boolean).join(' ');
    refused.hidden = false;
    for (const button of buttons) button.disabled = false;
  }
}
