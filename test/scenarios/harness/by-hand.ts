// What a DBA says to the servers past Evenkeel, in the words of each flavor.
export const byHand = {
  mysql: {
    readOnly: 'SET GLOBAL super_read_only = 1',
    stop: 'STOP REPLICA',
    start: 'START REPLICA',
    detach: ['STOP REPLICA', 'RESET REPLICA ALL'],
  },
  mariadb: {
    readOnly: 'SET GLOBAL read_only = 1',
    stop: 'STOP SLAVE',
    start: 'START SLAVE',
    detach: ['STOP SLAVE', 'RESET SLAVE ALL'],
  },
} as const;
