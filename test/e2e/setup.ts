import { jest } from '@jest/globals';

// Pods start and end within seconds; a part that was killed needs up to a minute to be back.
jest.setTimeout(180_000);
