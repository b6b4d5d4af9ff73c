import { jest } from '@jest/globals';

// Each starts real containers, which takes a second alone, and many while all tests of the nodes run beside them.
jest.setTimeout(120_000);
