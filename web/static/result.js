// The page of one result.

import { results } from './results.js';

results();
