// The page of one result.

import './alive.js';
import { results } from './results.js';

results();
