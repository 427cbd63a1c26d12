// What the buttons in the conversation do.

import { post } from './api.js';
import { copyAnswer, copyCode } from './copy.js';
import { resend } from './resend.js';

// `box` sends. Gives { look }.
export function listenForActions(box) {
  const turns = document.getElementById('main');
  const questions = resend(box.say);
  const actions = {
    approve: (button) => answer(button.form, { kind: 'approve' }),
    say: (button) => box.say(button.dataset.message),
    'try-again': (button) => questions.again(button),
    regenerate: (button) => questions.again(button),
    edit: (button) => questions.edit(button),
    'copy-code': copyCode,
    'copy-answer': copyAnswer,
  };
  turns.addEventListener('click', (event) => {
    const button = event.target.closest('[data-do]');
    if (button) actions[button.dataset.do]?.(button);
  });
  turns.addEventListener('submit', (event) => {
    if (!event.target.matches('.ask')) return;
    // Enter in the reason denies: only the button approves.
    event.preventDefault();
    answer(event.target, { kind: 'deny', reason: event.target.elements.reason.value.trim() });
  });
  return { look: questions.look };
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
    refused.textContent = error.words;
    refused.hidden = false;
    for (const button of buttons) button.disabled = false;
  }
}
