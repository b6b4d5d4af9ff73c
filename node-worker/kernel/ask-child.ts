import { readFileSync } from 'node:fs';
import { answer, type Question } from './ask-steps.ts';

/** A process of its own, because a process that has been moved to another cgroup does not find back by itself. */
process.stdout.write(JSON.stringify(answer(JSON.parse(readFileSync(0, 'utf8')) as Question)));
